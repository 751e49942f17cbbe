"""Is it the GPU or the workers? What speaks, and what holds it back."""

from __future__ import annotations

from grafana_foundation_sdk.models import dashboard as models

from dashboards.parts import Query, Steps, Words, answer, at, course, dashboard, hosts, on_host

_EACH = "{{instance}} GPU {{gpu}}"


def _of(metric: str) -> str:
    return f"cosyhost_gpu_{metric}{on_host('cosyhost')}"


def make() -> models.Dashboard:
    """The dashboard."""
    web, node = at("web"), on_host("node")
    idle = on_host("node", 'mode="idle"')
    return dashboard(
        "gpu",
        "is it the GPU? GPU 与工作进程",
        "Whether workers are ready and what the GPU does. On a preview host there is no GPU: its "
        "panels stay empty. 工作进程是否就绪，GPU 在做什么。预览主机没有 GPU，相应面板为空。",
        [
            answer(
                Words(
                    "Are all GPUs there?",
                    "GPU 都在吗？",
                    "GPUs that the driver shows, and how many the inventory expects (0 on a "
                    "preview host). Fewer: nvidia-smi, then dmesg on the host.",
                    "驱动可见的 GPU 数与清单期望数（预览主机为 0）。"
                    "缺少时在主机上看 nvidia-smi 与 dmesg。",
                ),
                "none",
                [
                    Query(f"count({_of('info')}) or vector(0)", "seen 可见"),
                    Query(f"sum(cosyhost_gpus_expected{on_host('cosyhost')})", "expected 期望"),
                ],
            ),
            answer(
                Words(
                    "Does the driver answer?",
                    "驱动有应答吗？",
                    "Whether NVIDIA's library could be asked. no is right on a preview host.",
                    "能否查询 NVIDIA 驱动。预览主机上显示“否”是正常的。",
                ),
                "none",
                [Query(_of("up"), "{{instance}}")],
                mappings={"1": ("yes 是", "green"), "0": ("no 否", "blue")},
            ),
            answer(
                Words(
                    "How many can speak at once?",
                    "能同时合成几个？",
                    "Children of the workers that are alive, each with a model of its own, and how "
                    "many of them speak now.",
                    "存活的工作子进程数（各自加载模型），以及正在合成的数量。",
                ),
                "none",
                [
                    Query(f"max(cosyhost_worker_children{web})", "children 子进程"),
                    Query(f"max(cosyhost_jobs_running{web})", "speaking 合成中"),
                ],
            ),
            answer(
                Words(
                    "How fast does it speak?",
                    "合成有多快？",
                    "Seconds of speech made each second, by all workers together. 0 while jobs run "
                    "means a hung engine.",
                    "所有工作进程每秒合成的语音秒数。有任务却为 0，说明引擎卡住了。",
                ),
                "suffix: s/s",
                [
                    Query(
                        "sum by (engine) "
                        f"(rate(cosyhost_audio_seconds_total{web}[$__rate_interval]))",
                        "{{engine}}",
                    )
                ],
                decimals=2,
            ),
            course(
                Words(
                    "What state are the workers in?",
                    "工作进程处于什么状态？",
                    "Workers by state. failed: journalctl --namespace=+cosyhost "
                    "-u 'cosyhost-worker@*' on the host.",
                    "各状态的工作进程数。failed 时在主机上查看 "
                    "journalctl --namespace=+cosyhost -u 'cosyhost-worker@*'。",
                ),
                "none",
                [
                    Query(
                        f"max by (state) (cosyhost_worker_units{web})",
                        "{{state}}",
                    )
                ],
                stacked=True,
            ),
            course(
                Words(
                    "Is the CPU the bottleneck?",
                    "CPU 是瓶颈吗？",
                    "Share of all cores that is busy. The preview engine speaks on the CPU; with a "
                    "GPU it should be far from full.",
                    "所有核心的忙碌比例。预览引擎在 CPU 上合成；使用 GPU 时应远未占满。",
                ),
                "percentunit",
                [
                    Query(
                        "1 - avg by (instance) "
                        f"(rate(node_cpu_seconds_total{idle}[$__rate_interval]))",
                        "{{instance}}",
                    )
                ],
                steps=Steps(None, 0.9),
                highest=1,
            ),
            course(
                Words(
                    "Is memory short?",
                    "内存够吗？",
                    "Share of the host's memory that is in use and could not be had at once.",
                    "主机内存的占用比例（不含可立即回收的部分）。",
                ),
                "percentunit",
                [
                    Query(
                        f"1 - node_memory_MemAvailable_bytes{node}"
                        f" / node_memory_MemTotal_bytes{node}",
                        "{{instance}}",
                    )
                ],
                steps=Steps(0.85, 0.95),
                highest=1,
            ),
            course(
                Words(
                    "Is the GPU's memory full?",
                    "显存满了吗？",
                    "Share in use. Above 95 % the next model or job may not fit: fewer jobs at "
                    "once per GPU.",
                    "显存占用比例。超过 95% 时可能放不下下一个模型或任务：减少每个 GPU 的并发。",
                ),
                "percentunit",
                [Query(f"{_of('memory_used_bytes')} / {_of('memory_total_bytes')}", _EACH)],
                steps=Steps(0.9, 0.95),
                highest=1,
            ),
            course(
                Words(
                    "Is the GPU busy?",
                    "GPU 忙吗？",
                    "Share of time in which something ran on it. Idle while jobs wait: the "
                    "bottleneck is elsewhere.",
                    "GPU 有计算在运行的时间比例。任务排队而 GPU 空闲，说明瓶颈在别处。",
                ),
                "percentunit",
                [Query(_of("utilization_ratio"), _EACH)],
                highest=1,
            ),
            course(
                Words(
                    "Is it too hot?",
                    "温度过高吗？",
                    "Above about 85 °C it clocks down: look at fans and air.",
                    "约 85 °C 以上会降频：检查风扇与通风。",
                ),
                "celsius",
                [Query(_of("temperature_celsius"), _EACH)],
                steps=Steps(80, 87),
            ),
            course(
                Words(
                    "How much power does it draw?",
                    "功耗多少？",
                    "Watts now; dashed: mean from the energy counter, which misses no peak.",
                    "当前功率；虚线为由能量计数器得出的平均功率，不会漏掉峰值。",
                ),
                "watt",
                [
                    Query(_of("power_watts"), _EACH),
                    Query(
                        f"rate({_of('energy_joules_total')}[$__rate_interval])",
                        f"{_EACH} mean 平均",
                    ),
                ],
                limits="mean",
            ),
            course(
                Words(
                    "What holds its clock back?",
                    "什么在降低频率？",
                    "Reasons that the driver gives; idle is none to worry about, thermal and power "
                    "ones are.",
                    "驱动给出的降频原因；空闲（idle）无需担心，温度和功率类需要处理。",
                ),
                "none",
                [Query(f"{_of('clock_event_active')} == 1", f"{_EACH} {{{{reason}}}}")],
            ),
            course(
                Words(
                    "Does its memory make mistakes?",
                    "显存出错吗？",
                    "ECC errors in the last hour. Uncorrected ones: take the card out of service.",
                    "最近一小时的 ECC 错误。出现不可纠正错误时应停用该卡。",
                ),
                "none",
                [
                    Query(
                        f"increase({_of('ecc_errors_total')}[1h])",
                        f"{_EACH} {{{{kind}}}}",
                    )
                ],
            ),
            course(
                Words(
                    "Is its slot as wide as it should be?",
                    "PCIe 通道正常吗？",
                    "PCIe lanes and generation in use; both fall while it idles.",
                    "当前 PCIe 通道数与代次；空闲时都会下降。",
                ),
                "none",
                [
                    Query(_of("pcie_link_width"), f"{_EACH} lanes 通道"),
                    Query(_of("pcie_link_generation"), f"{_EACH} generation 代"),
                ],
            ),
        ],
        [hosts()],
    )

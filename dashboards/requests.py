"""Is it the user's line, the queue or the engine? Where the seconds of requests went."""

from __future__ import annotations

from grafana_foundation_sdk.models import dashboard as models

from dashboards.parts import Query, Steps, Words, answer, at, course, dashboard, quantile

_WEB = at("web")
_PER_MINUTE = "suffix: /min"


def _median_and_slowest(metric: str, labels: str, factor: str = "") -> list[Query]:
    return [
        Query(quantile(0.5, metric, labels) + factor, "half are below 中位数"),
        Query(quantile(0.95, metric, labels) + factor, "95 % are below 95 分位"),
    ]


def make() -> models.Dashboard:
    """The dashboard."""
    phase = "cosyhost_job_phase_seconds"
    first = at("web", 'phase="ttfa"')
    sums, counts = f"{phase}_sum{_WEB}", f"{phase}_count{_WEB}"
    return dashboard(
        "requests",
        "where did the seconds go? 请求",
        "Upload, queue, synthesis, encoding, download: which of them made users wait. "
        "上传、排队、合成、编码、下载：用户在等哪一个。",
        [
            course(
                Words(
                    "How long does each phase take?",
                    "各阶段平均多久？",
                    "Mean seconds of each phase. upload: the user's own line. queue: too few "
                    "workers. synth, encode: this host. download: the way back, together with "
                    "synth where sound is streamed. ttfa: from asking to the first sound.",
                    "各阶段平均秒数。upload 是用户自己的线路，queue "
                    "是工作进程不够，synth、encode 是本机，"
                    "download 是回程（流式时与合成重叠），ttfa 是从提交到听到第一声。",
                ),
                "s",
                [
                    Query(
                        f"sum by (phase) (rate({sums}[$__rate_interval]))"
                        f" / sum by (phase) (rate({counts}[$__rate_interval]))",
                        "{{phase}}",
                    )
                ],
            ),
            course(
                Words(
                    "And for the slowest 5 %?",
                    "最慢的 5% 呢？",
                    "95 % of the jobs needed less than this in the phase.",
                    "95% 的任务在该阶段用时低于此值。",
                ),
                "s",
                [Query(quantile(0.95, phase, _WEB, "phase"), "{{phase}}")],
            ),
            course(
                Words(
                    "How fast are the users' own lines?",
                    "用户自己的上行有多快？",
                    "Upload rate as the user's side saw it. The slowest tenth below 1 Mb/s means "
                    "hotspots: the page then compacts to Opus by itself.",
                    "从用户一侧看到的上传速率。最慢的十分之一低于 1 "
                    "Mb/s 多为手机热点，页面会自动改用 Opus。",
                ),
                "bps",
                [
                    Query(
                        quantile(0.1, "cosyhost_job_uplink_bytes_per_second", _WEB) + " * 8",
                        "slowest tenth 最慢十分之一",
                    ),
                    Query(
                        quantile(0.5, "cosyhost_job_uplink_bytes_per_second", _WEB) + " * 8",
                        "half are below 中位数",
                    ),
                ],
            ),
            course(
                Words(
                    "How large are uploads and downloads?",
                    "上传和下载有多大？",
                    "95 % are smaller. A 15 s prompt is 0.4 MB as FLAC and 2.9 MB as a 48 kHz WAV.",
                    "95% 小于此值。15 秒的参考音频 FLAC 约 0.4 MB，48 kHz WAV 约 2.9 MB。",
                ),
                "decbytes",
                [
                    Query(quantile(0.95, "cosyhost_job_upload_bytes", _WEB), "upload 上传"),
                    Query(
                        quantile(0.95, "cosyhost_job_download_bytes", _WEB, "format"),
                        "download 下载 {{format}}",
                    ),
                ],
            ),
            course(
                Words(
                    "Is anybody waiting?",
                    "有人在排队吗？",
                    "Jobs waiting and being spoken; dashed: how many may wait. At the dashed line "
                    "the next job is refused with 429.",
                    "排队和正在合成的任务数；虚线为队列上限，达到后新任务以 429 拒绝。",
                ),
                "none",
                [
                    Query(f"max(cosyhost_jobs_waiting{_WEB})", "waiting 排队"),
                    Query(f"max(cosyhost_jobs_running{_WEB})", "running 合成中"),
                    Query(f"max(cosyhost_jobs_waiting_limit{_WEB})", "limit 上限"),
                ],
                limits="limit",
            ),
            course(
                Words(
                    "How long has the first in line waited?",
                    "队首等了多久？",
                    "Age of the oldest waiting job; 0 when nobody waits. Growing without end: no "
                    "worker takes jobs, see the dashboard of GPU and workers.",
                    "最早排队任务的等待时间，无人排队时为 0。"
                    "持续增长说明没有工作进程接任务，见 GPU 面板。",
                ),
                "s",
                [Query(f"max(cosyhost_queue_oldest_seconds{_WEB})", "oldest 队首")],
                steps=Steps(10, 20),
            ),
            course(
                Words(
                    "How do jobs end?",
                    "任务结果如何？",
                    "Jobs a minute by outcome and engine. cancelled: by their users.",
                    "每分钟结束的任务，按结果和引擎。cancelled 为用户取消。",
                ),
                _PER_MINUTE,
                [
                    Query(
                        "sum by (outcome, engine) "
                        f"(rate(cosyhost_jobs_total{_WEB}[$__rate_interval])) * 60",
                        "{{outcome}} {{engine}}",
                    )
                ],
                stacked=True,
            ),
            course(
                Words(
                    "Why were requests refused?",
                    "请求为何被拒绝？",
                    "Problems a minute by their code; /docs on the host lists each with its cure.",
                    "每分钟的问题，按代码；主机上的 /docs 列出每个代码的含义和解决办法。",
                ),
                _PER_MINUTE,
                [
                    Query(
                        f"sum by (code) (rate(cosyhost_problems_total{_WEB}[$__rate_interval]))"
                        " * 60",
                        "{{code}}",
                    )
                ],
                stacked=True,
            ),
            course(
                Words(
                    "When is the first sound heard?",
                    "多久听到第一声？",
                    "From asking to the first audio (TTFA), queue included.",
                    "从提交到第一段音频（TTFA），含排队。",
                ),
                "s",
                _median_and_slowest(phase, first),
            ),
            course(
                Words(
                    "Is synthesis faster than speech?",
                    "合成比播放快吗？",
                    "Seconds of synthesis per second of speech (RTF). Above 1 a stream stutters: "
                    "fewer jobs at once, or a faster GPU.",
                    "每秒语音所需的合成秒数（RTF）。大于 1 "
                    "时流式播放会卡顿：减少并发或更换更快的 GPU。",
                ),
                "none",
                _median_and_slowest("cosyhost_job_rtf", _WEB),
                steps=Steps(None, 1),
            ),
            answer(
                Words(
                    "How many people are connected?",
                    "有多少连接？",
                    "Open connections at the front door (nginx); a browser keeps a few.",
                    "入口（nginx）的打开连接数；一个浏览器会占用几个。",
                ),
                "none",
                [Query(f"sum(nginx_connections_active{at('nginx')})", "connections 连接")],
                width=12,
            ),
            answer(
                Words(
                    "How full is the queue's memory?",
                    "队列内存用了多少？",
                    "Share of Redis' limit. When full, new jobs are refused and nothing is lost.",
                    "占 Redis 内存上限的比例。满后拒绝新任务，但不丢失已有任务。",
                ),
                "percentunit",
                [
                    Query(
                        f"max(redis_memory_used_bytes{at('redis')}"
                        f" / redis_memory_max_bytes{at('redis')})",
                        "used 已用",
                    )
                ],
                steps=Steps(0.7, 0.9),
                width=12,
            ),
        ],
    )

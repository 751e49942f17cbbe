"""Is it the disk? What outputs take, what is left, and whether retention does its work."""

from __future__ import annotations

from grafana_foundation_sdk.models import dashboard as models

from dashboards.parts import Query, Steps, Words, answer, course, dashboard, hosts, on_host

_HOST = "{{instance}}"
_PATH = "{{instance}} {{path}}"


def _of(metric: str) -> str:
    return f"cosyhost_{metric}{on_host('cosyhost')}"


def make() -> models.Dashboard:
    """The dashboard."""
    # Partitions count in their disk too, and a mapped volume in what it lies on.
    disks = on_host("node", 'device!~"(loop|ram|zram|dm-|md|sr|fd).*"')
    return dashboard(
        "storage",
        "is it the disk? 存储与保留",
        "Room, pace, and what retention removed. 空间、增长速度，以及保留策略清理了什么。",
        [
            answer(
                Words(
                    "How full are the outputs?",
                    "输出占了多少？",
                    "Bytes of the outputs folder, and the quota above which the oldest go.",
                    "输出目录的大小，以及超过后从最旧开始删除的配额。",
                ),
                "decbytes",
                [
                    Query(_of("outputs_bytes"), f"{_HOST} outputs 输出"),
                    Query(_of("outputs_quota_bytes"), f"{_HOST} quota 配额"),
                ],
            ),
            answer(
                Words(
                    "How old is the oldest output?",
                    "最旧的输出有多旧？",
                    "Older than the tier keeps them: retention does not run.",
                    "超过该层级的保留时间，说明保留任务没有运行。",
                ),
                "s",
                [Query(f"time() - {_of('outputs_oldest_timestamp_seconds')}", _HOST)],
            ),
            answer(
                Words(
                    "When did retention last succeed?",
                    "上次清理成功是什么时候？",
                    "Time since then. It is red after two of its periods.",
                    "距上次成功的时间，超过两个周期为异常。",
                ),
                "s",
                [Query(f"time() - {_of('retention_last_success_timestamp_seconds')}", _HOST)],
            ),
            answer(
                Words(
                    "How much room is left?",
                    "还剩多少空间？",
                    "Free share of each file system that voices and outputs lie on.",
                    "声音与输出所在文件系统的剩余比例。",
                ),
                "percentunit",
                [Query(f"{_of('storage_free_bytes')} / {_of('storage_size_bytes')}", _PATH)],
                steps=Steps(0.2, 0.1, below=True),
            ),
            course(
                Words(
                    "Will the disk be full tomorrow?",
                    "明天磁盘会满吗？",
                    "Free bytes now; dashed: what is left in 24 hours if the last 6 go on as they "
                    "did. At 0 or below it will be full.",
                    "当前剩余字节；虚线为按最近 6 小时的趋势 24 小时后的剩余，降到 0 即会写满。",
                ),
                "decbytes",
                [
                    Query(_of("storage_free_bytes"), f"{_PATH} now 现在"),
                    Query(
                        f"predict_linear({_of('storage_free_bytes')}[6h], 86400)",
                        f"{_PATH} tomorrow 明天",
                    ),
                ],
                lowest=None,
                limits="tomorrow",
            ),
            course(
                Words(
                    "Are there inodes left?",
                    "inode 还够吗？",
                    "Share of free inodes: a disk with room but without them takes no new file.",
                    "剩余 inode 比例；用完后即使有空间也无法新建文件。",
                ),
                "percentunit",
                [Query(f"{_of('storage_inodes_free')} / {_of('storage_inodes')}", _PATH)],
                steps=Steps(0.2, 0.1, below=True),
                highest=1,
            ),
            course(
                Words(
                    "How fast do outputs grow?",
                    "输出增长多快？",
                    "Files in the outputs folder. A saw: retention works.",
                    "输出目录的文件数。呈锯齿形说明保留策略在工作。",
                ),
                "none",
                [Query(_of("outputs_files"), _HOST)],
            ),
            course(
                Words(
                    "Is the disk itself busy?",
                    "磁盘本身忙吗？",
                    "Share of time in which a disk had something to do. Near 100 % everything "
                    "that writes waits.",
                    "磁盘处于忙碌状态的时间比例。接近 100% 时所有写入都在等待。",
                ),
                "percentunit",
                [
                    Query(
                        f"rate(node_disk_io_time_seconds_total{disks}[$__rate_interval])",
                        "{{instance}} {{device}}",
                    )
                ],
                steps=Steps(None, 0.9),
                highest=1,
            ),
            course(
                Words(
                    "What did retention remove?",
                    "保留策略清理了多少？",
                    "Bytes removed in the last hour, by the job that keeps age, quota and free "
                    "space.",
                    "最近一小时内由保留任务删除的字节数（按时间、配额和剩余空间）。",
                ),
                "decbytes",
                [Query(f"increase({_of('retention_deleted_bytes_total')}[1h])", _HOST)],
            ),
            course(
                Words(
                    "How long do the looks at the folder take?",
                    "扫描目录要多久？",
                    "Seconds that the exporter's look at the outputs and the last retention run "
                    "took. Growing: too many files in one folder.",
                    "采集程序扫描输出目录以及上次清理所用的秒数。持续增长说明目录里文件过多。",
                ),
                "s",
                [
                    Query(_of("outputs_scan_seconds"), f"{_HOST} scan 扫描"),
                    Query(_of("retention_run_seconds"), f"{_HOST} retention 清理"),
                ],
            ),
        ],
        [hosts()],
    )

"""What the doctor may find: each with a stable code, both languages, and the cure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Sign:
    """One sort of finding. A fault stops or spoils the service now; else it is a warning.

    `zh`/`en` say what is wrong, `cure_zh`/`cure_en` what to do; all in `str.format` style.
    """

    code: str
    fault: bool
    zh: str
    en: str
    cure_zh: str
    cure_en: str


@dataclass(frozen=True)
class Finding:
    """A sign, seen: `area` is link, disk, gpu or service; `figures` are named by the sentences."""

    area: str
    sign: Sign
    figures: dict[str, Any]

    def sentence(self, language: str) -> str:
        """What is wrong and what to do, in `zh` or `en`."""
        sign = self.sign
        if language == "zh":
            return (sign.zh + sign.cure_zh).format(**self.figures)
        return f"{sign.en} {sign.cure_en}".format(**self.figures)

    def document(self) -> dict[str, Any]:
        """For programs."""
        return {
            "code": self.sign.code,
            "severity": "fault" if self.sign.fault else "warning",
            "area": self.area,
            "figures": self.figures,
            "message": self.sentence("en"),
            "message_zh": self.sentence("zh"),
        }


LINK_BELOW_NOMINAL = Sign(
    "LINK_BELOW_NOMINAL",
    True,
    "{device} 应为 {nominal_mbit} Mbit/s，实际只协商到 {speed_mbit} Mbit/s。",
    "{device} negotiated {speed_mbit} Mbit/s on a link that should do {nominal_mbit} Mbit/s.",
    "请更换网线（千兆需要四对线完好的超五类以上网线），再换交换机端口；不要手工固定速率。",
    "Change the cable (gigabit needs all four pairs of a Cat 5e one), then the switch's port; "
    "do not fix the speed by hand.",
)
LINK_HALF_DUPLEX = Sign(
    "LINK_HALF_DUPLEX",
    True,
    "{device} 工作在半双工：收发不能同时进行，负载下会丢包。",
    "{device} runs half duplex: it can't send and receive at once, and loses packets under load.",
    "请把两端都设为自动协商，再检查网线。",
    "Set both ends to negotiate by themselves, then look at the cable.",
)
LINK_NO_CARRIER = Sign(
    "LINK_NO_CARRIER",
    True,
    "{device} 没有载波：网线或对端未接通。",
    "{device} has no carrier: the cable or the other end is not there.",
    "请检查网线与交换机端口的指示灯。",
    "See the cable, and the lamp of the switch's port.",
)
LINK_NO_ROUTE = Sign(
    "LINK_NO_ROUTE",
    False,
    "没有默认路由：只有同一网段的用户能访问。",
    "There is no default route: only users of the same network reach this host.",
    "若不是有意为之，请配置网关。",
    "Set a gateway, unless this is meant.",
)
LINK_FLAPS = Sign(
    "LINK_FLAPS",
    False,
    "{device} 自启动以来载波变化了 {changes} 次。",
    "{device} lost or found its carrier {changes} times since boot.",
    "多为网线接触不良或节能以太网所致：请更换网线或端口。",
    "A loose plug or energy saving mostly: change the cable or the port.",
)
LINK_ERRORS = Sign(
    "LINK_ERRORS",
    False,
    "{device} 有 {percent:.1f} % 的数据包出错或被丢弃（{since}）。",
    "{device} lost {percent:.1f} % of its packets to errors and drops ({since_en}).",
    "请检查网线、双工设置和主机负载。",
    "Look at the cable, the duplex setting, and the load of the host.",
)
LINK_SATURATED = Sign(
    "LINK_SATURATED",
    False,
    "{device} {way}已占满：{now_mbit:.1f} Mbit/s，线路为 {capacity_mbit:g} Mbit/s。",
    "{device} is full {way_en}: {now_mbit:.1f} Mbit/s on a line of {capacity_mbit:g} Mbit/s.",
    "请看是谁在用（例如 nethogs），让用户使用 FLAC/Opus，或升级线路。",
    "See who uses it (nethogs, say), have users take FLAC or Opus, or get a faster line.",
)
LINK_ASYMMETRIC = Sign(
    "LINK_ASYMMETRIC",
    False,
    "线路不对称：上行 {up_mbit:g} Mbit/s，下行 {down_mbit:g} Mbit/s。",
    "The line is asymmetric: {up_mbit:g} Mbit/s up, {down_mbit:g} Mbit/s down.",
    "语音由服务器上行发出：多人使用时请选对称线路，或输出 Opus。",
    "Speech leaves by the line's upload: with many users take a symmetric one, or Opus as output.",
)
DISK_FULL = Sign(
    "DISK_FULL",
    True,
    "{path} 只剩 {free_gb:.1f} GB（{percent:.0f} %）。",
    "{path} has {free_gb:.1f} GB left ({percent:.0f} %).",
    "请清理或扩大该卷；输出的保留期限见 group_vars。",
    "Free some or enlarge the volume; how long outputs stay is set in group_vars.",
)
DISK_LOW = Sign("DISK_LOW", False, DISK_FULL.zh, DISK_FULL.en, DISK_FULL.cure_zh, DISK_FULL.cure_en)
DISK_INODES = Sign(
    "DISK_INODES",
    True,
    "{path} 的 inode 只剩 {percent:.0f} %。",
    "{path} has {percent:.0f} % of its inodes left.",
    "请删除大量小文件，或重建文件系统并增加 inode。",
    "Remove small files, or make the file system anew with more inodes.",
)
OUTPUTS_OVER_QUOTA = Sign(
    "OUTPUTS_OVER_QUOTA",
    False,
    "输出共 {used_gb:.1f} GB，超过配额 {quota_gb:g} GB。",
    "The outputs hold {used_gb:.1f} GB, over their quota of {quota_gb:g} GB.",
    "请清理旧输出，或提高配额。",
    "Remove old outputs, or raise the quota.",
)
PATH_MISSING = Sign(
    "PATH_MISSING",
    True,
    "{path} 不存在或无法访问。",
    "{path} is not there or can't be reached.",
    "请检查该卷是否已挂载，并以 root 运行 doctor。",
    "See whether its volume is mounted; run the doctor as root.",
)
GPU_MISSING = Sign(
    "GPU_MISSING",
    True,
    "应有 {expected} 块 GPU，只找到 {found} 块（{reason}）。",
    "{expected} GPUs are expected, {found} answer ({reason}).",
    "请运行 nvidia-smi；驱动缺失请安装，GPU 掉线请重启主机并查看 dmesg 中的 Xid。",
    "Run nvidia-smi: install the driver if it lacks, or reboot and look for Xid in dmesg.",
)
GPU_MEMORY = Sign(
    "GPU_MEMORY",
    False,
    "GPU {gpu} 的显存已用 {percent:.0f} %。",
    "GPU {gpu} has {percent:.0f} % of its memory in use.",
    "请减少 service_jobs_per_gpu，或停掉其他使用者。",
    "Lower service_jobs_per_gpu, or end who else uses it.",
)
GPU_HOT = Sign(
    "GPU_HOT",
    False,
    "GPU {gpu} 温度 {celsius} °C，已降频。",
    "GPU {gpu} is at {celsius} °C and slowed down for it.",
    "请检查风扇、灰尘与机房温度。",
    "See its fans, its dust, and the room's temperature.",
)
GPU_ECC = Sign(
    "GPU_ECC",
    True,
    "GPU {gpu} 有 {errors} 个无法纠正的显存错误。",
    "GPU {gpu} had {errors} memory errors that could not be corrected.",
    "请重启主机；若再次出现，请更换 GPU。",
    "Reboot the host; if it happens again, have the GPU replaced.",
)
UNIT_DOWN = Sign(
    "UNIT_DOWN",
    True,
    "{unit} 未在运行（{state}）。",
    "{unit} is not running ({state}).",
    "请查看 journalctl --namespace=+cosyhost -u {unit} -n 50。",
    "Read journalctl --namespace=+cosyhost -u {unit} -n 50.",
)
NOT_READY = Sign(
    "NOT_READY",
    True,
    "服务未就绪：{reason}。",
    "The service is not ready: {reason}.",
    "请查看 journalctl --namespace=+cosyhost -u 'cosyhost-*' -n 100。",
    "Read journalctl --namespace=+cosyhost -u 'cosyhost-*' -n 100.",
)

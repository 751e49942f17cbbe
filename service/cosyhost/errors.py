"""Every failure a person or a program can meet: one stable code, both languages, the next step."""

from __future__ import annotations

from typing import Any, NamedTuple


class Kind(NamedTuple):
    """One sort of failure.

    `code` never changes once released. `zh`/`en` say what is wrong, `hint_zh`/`hint_en` what to do
    next; all four may name fields in `str.format` style, filled in when the problem is raised.
    """

    code: str
    status: int
    zh: str
    en: str
    hint_zh: str
    hint_en: str

    @property
    def title(self) -> str:
        """The short English title; the same for each occurrence (RFC 9457, 3.1.3)."""
        return self.code.replace("_", " ").capitalize()


class Problem(Exception):
    """A failure of a known kind, with the figures that belong to this occurrence."""

    def __init__(self, kind: Kind, *, retry_after_s: int | None = None, **figures: Any) -> None:
        super().__init__(kind.en.format(**figures))
        self.kind = kind
        self.figures = figures
        self.retry_after_s = retry_after_s
        # What the sentences may name.
        self._named = figures | {"retry_after_s": retry_after_s}

    def __reduce__(self) -> tuple[Any, ...]:
        return _rebuild, (self.kind, self.retry_after_s, self.figures)

    def sentence(self, language: str) -> str:
        """What is wrong and what to do next, in `zh` or `en`."""
        kind = self.kind
        said, hint = (
            (kind.zh, kind.hint_zh) if language.startswith("zh") else (kind.en, kind.hint_en)
        )
        gap = "" if language.startswith("zh") else " "
        return said.format(**self._named) + gap + hint.format(**self._named)

    def document(self) -> dict[str, Any]:
        """The RFC 9457 problem document, with our members beside the standard ones."""
        kind = self.kind
        return {
            "type": f"urn:cosyhost:problem:{kind.code}",
            "title": kind.title,
            "status": kind.status,
            "detail": kind.en.format(**self._named),
            "detail_zh": kind.zh.format(**self._named),
            "hint": kind.hint_en.format(**self._named),
            "hint_zh": kind.hint_zh.format(**self._named),
            "code": kind.code,
        }


def _rebuild(kind: Kind, retry_after_s: int | None, figures: dict[str, Any]) -> Problem:
    return Problem(kind, retry_after_s=retry_after_s, **figures)


CONFIG_INVALID = Kind(
    "config_invalid",
    500,
    "配置文件 {path} 无效：{reason}。",
    "The configuration file {path} is not valid: {reason}.",
    "请修正这一项，再运行 {check}。",
    "Correct that key, then run {check}.",
)
EXPORTER_ADDRESS = Kind(
    "exporter_address",
    500,
    "指标服务无法监听 {address}：{reason}。",
    "The exporter cannot listen at {address}: {reason}.",
    "请修改 exporter_listen 或 exporter_port，或停止占用该地址的程序（ss -lptn）。",
    "Change exporter_listen or exporter_port, or stop what has that address (ss -lptn).",
)
EXPORTER_BROKEN = Kind(
    "exporter_broken",
    500,
    "指标服务自检失败：{reason}。",
    "The exporter failed its own check: {reason}.",
    "请查看 cosyhost-exporter 的日志。",
    "Look into the journal of cosyhost-exporter.",
)
REQUEST_INVALID = Kind(
    "request_invalid",
    422,
    "请求字段 {field} 无效：{reason}。",
    "The request field {field} is not valid: {reason}.",
    "请对照 /docs 中的接口说明修改请求。",
    "Compare the request with the API page at /docs.",
)
NOT_FOUND = Kind(
    "not_found",
    404,
    "这里没有 {path}。",
    "There is nothing at {path}.",
    "接口列表见 /docs。",
    "The API page at /docs lists what there is.",
)
METHOD_NOT_ALLOWED = Kind(
    "method_not_allowed",
    405,
    "{path} 不支持 {method} 方法。",
    "{path} does not take {method}.",
    "接口列表见 /docs。",
    "The API page at /docs lists the methods.",
)
INTERNAL_ERROR = Kind(
    "internal_error",
    500,
    "服务内部出错（编号 {reference}）。",
    "The service failed inside (reference {reference}).",
    "请重试；若再次出现，请把编号告诉管理员。",
    "Try again; if it happens again, give the reference to the operator.",
)

TEXT_EMPTY = Kind(
    "text_empty",
    422,
    "没有要朗读的文字。",
    "There is no text to speak.",
    "请输入至少一个字。",
    "Enter at least one word.",
)
TEXT_NO_WORDS = Kind(
    "text_no_words",
    422,
    "文字里只有标点或符号，没有可以朗读的内容。",
    "The text holds only punctuation or symbols, nothing that can be spoken.",
    "请输入文字或数字。",
    "Enter letters or digits.",
)
TEXT_CONTROL_TOKENS = Kind(
    "text_control_tokens",
    422,
    "文字里含有模型的控制标记 {token}。",
    "The text holds a control token of the model: {token}.",
    "请删去 <|…|> 这样的标记；要控制语气，请用“指令”一栏。",
    "Remove marks such as <|...|>; to steer the voice use the instruction field.",
)
TEXT_TOO_LONG = Kind(
    "text_too_long",
    422,
    "文字有 {characters} 个字，上限是 {limit} 个。",
    "The text has {characters} characters; the limit is {limit}.",
    "请分成几段提交。",
    "Send it in several parts.",
)

MODE_UNKNOWN = Kind(
    "mode_unknown",
    422,
    "没有“{mode}”这种模式。",
    "There is no mode {mode!r}.",
    "可用模式：zero_shot（3 秒极速复刻）、cross_lingual（跨语种复刻）、instruct（自然语言控制）。",
    "Modes: zero_shot, cross_lingual, instruct.",
)
MODE_NEEDS_PROMPT_TEXT = Kind(
    "mode_needs_prompt_text",
    422,
    "3 秒极速复刻需要知道提示音频里说了什么。",
    "Mode zero_shot needs the prompt text: what the prompt audio says.",
    "请填写提示文本，或改用跨语种复刻。",
    "Fill in the prompt text (ref_text), or use mode cross_lingual.",
)
MODE_NEEDS_INSTRUCTIONS = Kind(
    "mode_needs_instructions",
    422,
    "自然语言控制需要一句指令。",
    "Mode instruct needs an instruction.",
    "例如：请用四川话表达。",
    "For example: speak in the Sichuan dialect.",
)
SPEED_OUT_OF_RANGE = Kind(
    "speed_out_of_range",
    422,
    "语速 {speed} 超出范围。",
    "The speed {speed} is out of range.",
    "请取 {low} 到 {high} 之间的值，1 为原速。",
    "Take a value from {low} to {high}; 1 is the natural speed.",
)
FORMAT_UNKNOWN = Kind(
    "format_unknown",
    422,
    "不支持输出格式“{format}”。",
    "The output format {format!r} is not known.",
    "可用格式：wav、flac、mp3、opus、pcm。",
    "Formats: wav, flac, mp3, opus, pcm.",
)

PROMPT_MISSING = Kind(
    "prompt_missing",
    422,
    "没有提示音频，也没有选择音色。",
    "There is neither a prompt audio nor a voice.",
    "请上传或录制 3 到 30 秒的提示音频，或选择一个已有音色。",
    "Upload or record 3 to 30 s of prompt audio, or choose a voice.",
)
PROMPT_EMPTY = Kind(
    "prompt_empty",
    422,
    "提示音频文件是空的（0 字节）。",
    "The prompt audio file is empty (0 bytes).",
    "请重新选择或录制。",
    "Choose or record it again.",
)
PROMPT_TOO_LARGE = Kind(
    "prompt_too_large",
    413,
    "提示音频有 {size_mb:.1f} MB，上限是 {limit_mb:.0f} MB。",
    "The prompt audio has {size_mb:.1f} MB; the limit is {limit_mb:.0f} MB.",
    "请剪到 30 秒以内，或存为 FLAC 或 MP3。",
    "Cut it to 30 s, or save it as FLAC or MP3.",
)
PROMPT_NOT_AUDIO = Kind(
    "prompt_not_audio",
    422,
    "这个文件不是能识别的音频。",
    "This file is no audio that can be read.",
    "请使用 WAV、FLAC、MP3、Ogg 或 Opus。",
    "Use WAV, FLAC, MP3, Ogg or Opus.",
)
PROMPT_TRUNCATED = Kind(
    "prompt_truncated",
    422,
    "提示音频不完整：后半段缺失，或中间有损坏。",
    "The prompt audio is incomplete: its end is missing, or it is damaged in between.",
    "请重新导出或重新上传这个文件。",
    "Export the file again, or upload it again.",
)
PROMPT_TOO_SHORT = Kind(
    "prompt_too_short",
    422,
    "提示音频只有 {seconds:.1f} 秒，至少要 {low:.0f} 秒。",
    "The prompt audio lasts {seconds:.1f} s; at least {low:.0f} s are needed.",
    "请录长一些，10 秒左右最好。",
    "Record a longer one; about 10 s is best.",
)
PROMPT_TOO_LONG = Kind(
    "prompt_too_long",
    422,
    "提示音频超过 {high:.0f} 秒。",
    "The prompt audio lasts more than {high:.0f} s.",
    "请剪出说得最清楚的 3 到 30 秒。",
    "Cut out the clearest 3 to 30 s.",
)
PROMPT_LOW_RATE = Kind(
    "prompt_low_rate",
    422,
    "提示音频的采样率是 {rate} Hz，至少要 {low} Hz。",
    "The prompt audio is sampled at {rate} Hz; at least {low} Hz are needed.",
    "请用 16 kHz 以上的采样率重新录制；升频没有用。",
    "Record it again at 16 kHz or more; converting it upward does not help.",
)
PROMPT_UNUSUAL = Kind(
    "prompt_unusual",
    422,
    "提示音频有 {channels} 个声道、采样率 {rate} Hz，超出可处理范围。",
    "The prompt audio has {channels} channels at {rate} Hz, which is out of range.",
    "请转成单声道或立体声，48 kHz 以下。",
    "Convert it to mono or stereo at 48 kHz or less.",
)
PROMPT_SILENT = Kind(
    "prompt_silent",
    422,
    "提示音频几乎没有声音（{level_db:.0f} dBFS）。",
    "The prompt audio is almost silent ({level_db:.0f} dBFS).",
    "请检查麦克风，再录一次。",
    "Check the microphone and record it again.",
)
PROMPT_CLIPPED = Kind(
    "prompt_clipped",
    422,
    "提示音频严重削波：{share:.0%} 的采样已到满幅。",
    "The prompt audio is clipped: {share:.0%} of its samples are at full scale.",
    "请离麦克风远一些或调低增益，再录一次。",
    "Move away from the microphone or lower the gain, and record it again.",
)

CONSENT_MISSING = Kind(
    "consent_missing",
    422,
    "克隆声音之前，需要确认您有权使用它。",
    "To clone a voice, say first that you may use it.",
    "请勾选“我可以使用这个声音”；用接口时，请在 consent 字段写明谁同意的。",
    'Tick "I may use this voice"; over the API, say in the field consent who agreed.',
)
TRAIL_UNAVAILABLE = Kind(
    "trail_unavailable",
    503,
    "使用记录无法写入（{reason}），因此不克隆声音。",
    "The record of who clones which voice cannot be written ({reason}), so nothing is cloned.",
    "请稍后重试；管理员请检查 /var/log/cosyhost-trail 及其所在的磁盘。",
    "Try again later; the operator should look at /var/log/cosyhost-trail and its disk.",
)
TRAIL_UNREADABLE = Kind(
    "trail_unreadable",
    500,
    "无法读取 {path}：{reason}。",
    "Cannot read {path}: {reason}.",
    "请在运行 web 的主机上以 root 运行，或用 --folder 指定所在的文件夹。",
    "Run it as root on a host that runs the web, or name the folder with --folder.",
)
TRAIL_TIME_INVALID = Kind(
    "trail_time_invalid",
    422,
    "“{given}”不是可用的时间。",
    "{given!r} is no time.",
    "请写成 2026-11-25 或 2026-11-25T08:30（UTC）。",
    "Write it as 2026-11-25 or 2026-11-25T08:30, in UTC.",
)

BODY_TOO_LARGE = Kind(
    "body_too_large",
    413,
    "请求有 {size_mb:.1f} MB，上限是 {limit_mb:.0f} MB。",
    "The request has {size_mb:.1f} MB; the limit is {limit_mb:.0f} MB.",
    "请把提示音频剪到 30 秒以内，或存为 FLAC 或 MP3。",
    "Cut the prompt audio to 30 s, or save it as FLAC or MP3.",
)
REF_AUDIO_INVALID = Kind(
    "ref_audio_invalid",
    422,
    "ref_audio 不是 base64 编码的 data: 地址。",
    "The field ref_audio is no base64 data: URI.",
    "格式为 data:audio/wav;base64,…；服务不会去下载网址。",
    "Send data:audio/wav;base64,...; the service fetches no addresses.",
)

UPLOAD_UNKNOWN = Kind(
    "upload_unknown",
    404,
    "没有收到过这段上传，或它已过期。",
    "Nothing of this upload is here, or it has expired.",
    "请从头发送。",
    "Send it from the beginning.",
)
UPLOAD_OFFSET_WRONG = Kind(
    "upload_offset_wrong",
    409,
    "分块（位置 {offset}）与这段上传不符。",
    "The chunk at {offset} does not fit this upload.",
    "分块为 32768 字节，从它的整数倍处开始；用 GET 查询已收到哪些。",
    "Chunks have 32768 bytes and begin at a multiple of that; GET tells which are there.",
)
UPLOAD_DAMAGED = Kind(
    "upload_damaged",
    422,
    "收到的数据与声明的 SHA-256 不符。",
    "What arrived does not match the SHA-256 it was announced with.",
    "已丢弃，请重新发送。",
    "It was dropped; send it again.",
)
UPLOAD_QUOTA = Kind(
    "upload_quota",
    429,
    "未完成的上传太多。",
    "Too many uploads are unfinished.",
    "请等待其他上传完成，或稍后重试。",
    "Let the others finish, or try again later.",
)

VOICE_UNKNOWN = Kind(
    "voice_unknown",
    404,
    "没有名为“{name}”的音色。",
    "There is no voice named {name!r}.",
    "已有音色见 GET /v1/audio/voices。",
    "GET /v1/audio/voices lists the voices.",
)
VOICE_EXISTS = Kind(
    "voice_exists",
    409,
    "已经有名为“{name}”的音色。",
    "A voice named {name!r} is there already.",
    "请换一个名字，或先删除原来的音色。",
    "Choose another name, or delete the old voice first.",
)
VOICE_NAME_INVALID = Kind(
    "voice_name_invalid",
    422,
    "音色名不可用。",
    "The name of the voice cannot be used.",
    "请用 1 到 64 个字符：文字、数字、空格、- 和 _。",
    "Use 1 to 64 characters: letters, digits, spaces, - and _.",
)

JOB_UNKNOWN = Kind(
    "job_unknown",
    404,
    "没有编号为 {job} 的任务，或它已过期。",
    "There is no job {job}, or it has expired.",
    "请重新生成。",
    "Generate it again.",
)
JOB_CANCELLED = Kind(
    "job_cancelled",
    409,
    "任务已取消。",
    "The job was cancelled.",
    "需要时请重新生成。",
    "Generate it again if you need it.",
)
JOB_TIMEOUT = Kind(
    "job_timeout",
    504,
    "生成超过了 {limit} 秒的时限。",
    "The synthesis took longer than its limit of {limit} s.",
    "请缩短文字再试。",
    "Shorten the text and try again.",
)
JOB_FAILED_REPEATEDLY = Kind(
    "job_failed_repeatedly",
    500,
    "任务连续 {attempts} 次中断，已停止重试。",
    "The job broke off {attempts} times and is not tried again.",
    "请换一段文字或提示音频；管理员可查看日志。",
    "Try another text or prompt audio; the operator finds the reason in the log.",
)
ENGINE_FAILED = Kind(
    "engine_failed",
    500,
    "引擎没能生成语音：{reason}。",
    "The engine could not speak: {reason}.",
    "请重试；若再次出现，请换一段文字或提示音频。",
    "Try again; if it happens again, try another text or prompt audio.",
)
ENGINE_OUT_OF_MEMORY = Kind(
    "engine_out_of_memory",
    503,
    "显存不足，没能生成语音。",
    "The GPU ran out of memory.",
    "请缩短文字后重试；管理员可减少每块 GPU 上同时进行的任务数。",
    "Try again with a shorter text; the operator can lower the number of jobs at once per GPU.",
)
MODE_UNAVAILABLE = Kind(
    "mode_unavailable",
    503,
    "目前没有能处理“{mode}”模式的引擎。",
    "No engine here can do the mode {mode} at the moment.",
    "请改用其他模式：{others}；管理员可增加支持它的 worker。",
    "Use another mode ({others}); the operator can add a worker whose engine does it.",
)
ENGINE_NO_SPEECH = Kind(
    "engine_no_speech",
    422,
    "模型没有为这段文字生成语音，换随机种子重试后仍然没有。",
    "The model gave no speech for this text, not with a second seed either.",
    "请检查提示文本与提示音频是否一致，或换一段文字。",
    "Check that the prompt text is what the prompt audio says, or change the text.",
)
ENGINE_BAD_SOUND = Kind(
    "engine_bad_sound",
    500,
    "模型给出的声音不是有效数值（NaN）。",
    "The sound from the model holds values that are no numbers (NaN).",
    "请重试；若再次出现，请管理员关闭加速选项（acceleration = none）。",
    "Try again; if it happens again, the operator should set acceleration to none.",
)
ENGINE_STALLED = Kind(
    "engine_stalled",
    504,
    "引擎 {seconds} 秒没有任何进展，任务已停止。",
    "The engine made no progress for {seconds} s; the job was stopped.",
    "请重试；若再次出现，请换一段文字或提示音频。",
    "Try again; if it happens again, try another text or prompt audio.",
)
ENGINE_LOST = Kind(
    "engine_lost",
    503,
    "引擎已失效（{reason}），它的进程需要重启。",
    "The engine is lost ({reason}); its process must be restarted.",
    "请稍后重试；管理员可查看日志与显卡状态。",
    "Try again later; the operator should look at the log and the state of the GPU.",
)
ENGINE_MODEL_MISSING = Kind(
    "engine_model_missing",
    500,
    "模型目录 {path} 不完整，缺少：{missing}。",
    "The model directory {path} is not complete; missing: {missing}.",
    "请再运行一次 site.yml 以取得模型；服务启动时不会下载。",
    "Run site.yml again to fetch the model; nothing is downloaded when the service starts.",
)
ENGINE_NOT_INSTALLED = Kind(
    "engine_not_installed",
    500,
    "引擎无法导入：{reason}。",
    "The engine cannot be imported: {reason}.",
    "请再运行一次 site.yml 以安装引擎。",
    "Run site.yml again to install the engine.",
)
ENGINE_NOT_LOADED = Kind(
    "engine_not_loaded",
    500,
    "模型加载失败：{reason}。",
    "The model did not load: {reason}.",
    "请核对模型文件与引擎版本是否匹配。",
    "Check that the model's files and the engine's version belong together.",
)
ENGINE_NO_GPU = Kind(
    "engine_no_gpu",
    500,
    "设置了加速 {acceleration}，但没有可用的 GPU。",
    "Acceleration {acceleration} is set, but there is no GPU that can be used.",
    "请检查驱动（nvidia-smi），或把 acceleration 设为 none 以使用 CPU。",
    "Check the driver (nvidia-smi), or set acceleration to none to run on the CPU.",
)
ENGINE_UNREACHABLE = Kind(
    "engine_unreachable",
    503,
    "引擎服务 {url} 没有应答：{reason}。",
    "The engine's server at {url} does not answer: {reason}.",
    "请稍后重试；管理员可查看引擎服务的状态。",
    "Try again later; the operator should look at the engine's own service.",
)
PROBE_FAILED = Kind(
    "probe_failed",
    500,
    "试说一句话没有成功：{reason}。",
    "The sentence that proves the service was not spoken: {reason}.",
    "请查看 cosyhost-web 与 cosyhost-worker 的日志。",
    "Look into the journal of cosyhost-web and cosyhost-worker.",
)
RELAY_BOTS_INVALID = Kind(
    "relay_bots_invalid",
    500,
    "群机器人列表无效：{reason}。",
    "The list of group bots is not valid: {reason}.",
    "请改正清单中的 alertmanager_bots，再运行 site.yml。",
    "Correct alertmanager_bots in the inventory, then run site.yml.",
)

QUEUE_FULL = Kind(
    "queue_full",
    429,
    "排队的任务已满（{waiting} 个）。",
    "The queue is full ({waiting} jobs wait).",
    "请在 {retry_after_s} 秒后重试。",
    "Try again in {retry_after_s} s.",
)
QUEUE_UNAVAILABLE = Kind(
    "queue_unavailable",
    503,
    "任务队列暂时连不上。",
    "The job queue cannot be reached at the moment.",
    "请几秒后重试；任务没有提交。",
    "Try again in a few seconds; nothing was submitted.",
)
STORE_UNAVAILABLE = Kind(
    "store_unavailable",
    503,
    "存放音色和输出的存储暂时不可用。",
    "The store of voices and outputs cannot be reached at the moment.",
    "请稍后重试，恢复后即可继续；原因见 cosyhost-web 的日志。",
    "Try again later; it goes on once the store is back. The journal of cosyhost-web has the "
    "reason.",
)
STORAGE_FULL = Kind(
    "storage_full",
    507,
    "服务的存储空间已满，暂时不接受新任务。",
    "The service has no room left for new outputs.",
    "请稍后重试；若一直如此，请联系管理员清理磁盘。",
    "Try again in some minutes; old outputs are being removed. If it stays so, tell the operator.",
)
RETENTION_PLACE = Kind(
    "retention_place",
    500,
    "无法清理输出目录 {place}：{reason}。",
    "The outputs in {place} cannot be cleaned up: {reason}.",
    "请检查该卷是否已挂载、可写，存储地址是否正确；下次运行会继续。",
    "See that the volume is mounted and writable, and the store's address right; "
    "the next run goes on.",
)
RETENTION_BUSY = Kind(
    "retention_busy",
    503,
    "另一次清理正在进行。",
    "Another run of the retention is going on.",
    "等它结束即可：systemctl status cosyhost-retention。",
    "Wait for its end: systemctl status cosyhost-retention.",
)
RETENTION_NO_ROOM = Kind(
    "retention_no_room",
    507,
    "可删除的输出都已删除，仍缺少 {lacking_mb:.0f} MB（其中 {in_use} 个文件刚被读取而保留）。",
    "All outputs that may go are gone, and {lacking_mb:.0f} MB are still missing "
    "({in_use} files stay since they were just fetched).",
    "请检查卷上的其他文件，或扩大该卷，或调低 retention_min_free_bytes。",
    "See what else fills the volume, make it larger, or lower retention_min_free_bytes.",
)
RANGE_NOT_SATISFIABLE = Kind(
    "range_not_satisfiable",
    416,
    "请求的字节范围超出了这段语音（共 {size} 字节）。",
    "The range asked for lies outside this output of {size} bytes.",
    "请从更早的位置取，或去掉 Range 取全部。",
    "Ask for an earlier one, or for the whole without Range.",
)
SERVICE_BUSY = Kind(
    "service_busy",
    503,
    "服务器正忙，还没有检查完这段音频。",
    "The server is busy and could not check the audio yet.",
    "请几秒后重试；音频本身没有问题。",
    "Try again in a few seconds; nothing was found wrong with the audio.",
)
OUTPUT_GONE = Kind(
    "output_gone",
    410,
    "这段语音已按保留期限清理。",
    "This output was removed when its time was up.",
    "请重新生成。",
    "Generate it again.",
)
MODE_UNAVAILABLE = Kind(
    "mode_unavailable",
    503,
    "目前没有能处理“{mode}”模式的引擎。",
    "No engine here can do the mode {mode} at the moment.",
    "请改用其他模式：{others}；管理员可增加支持它的 worker。",
    "Use another mode ({others}); the operator can add a worker whose engine does it.",
)
RESTART_NOT_ALLOWED = Kind(
    "restart_not_allowed",
    403,
    "这里不提供重启按钮。",
    "The restart button is off here.",
    "请由运维人员运行 playbooks/restart.yml。",
    "Operators restart it with playbooks/restart.yml.",
)
RESTART_NEEDS_LOGIN = Kind(
    "restart_needs_login",
    403,
    "只有管理员可以重启，而此版本尚无登录功能。",
    "Only an administrator may restart, and this version has no login yet.",
    "请由运维人员运行 playbooks/restart.yml。",
    "Operators restart it with playbooks/restart.yml.",
)
RESTART_UNAVAILABLE = Kind(
    "restart_unavailable",
    503,
    "无法提出重启请求：{reason}。",
    "The restart could not be asked for: {reason}.",
    "请由运维人员运行 playbooks/restart.yml。",
    "Operators restart it with playbooks/restart.yml.",
)
CROSS_ORIGIN = Kind(
    "cross_origin",
    403,
    "此请求来自另一个网站，已拒绝。",
    "The request comes from another site and was refused.",
    "请在本服务自己的页面上操作。",
    "Do it on this service's own page.",
)
PLAN_NOT_A_NUMBER = Kind(
    "plan_not_a_number",
    422,
    "{option} 的值“{given}”不是数字。",
    "The value {given!r} of {option} is no number.",
    "请只写数字，不带单位；单位见 cosyhost plan --help。",
    "Write the number alone, without a unit; cosyhost plan --help names the units.",
)
PLAN_NOT_WHOLE = Kind(
    "plan_not_whole",
    422,
    "{option} 的值“{given}”不是整数。",
    "The value {given!r} of {option} is no whole number.",
    "请写 1、2、3 这样的整数。",
    "Write a whole number such as 1, 2 or 3.",
)
PLAN_OUT_OF_RANGE = Kind(
    "plan_out_of_range",
    422,
    "{option} 的值 {given} 超出范围。",
    "The value {given} of {option} is out of range.",
    "请取 {low} 到 {high} 之间的值。",
    "Take a value from {low} to {high}.",
)
PLAN_UNKNOWN_CHOICE = Kind(
    "plan_unknown_choice",
    422,
    "{option} 没有“{given}”这个选项。",
    "{option} does not know {given!r}.",
    "可选：{choices}。",
    "Choose one of: {choices}.",
)
PLAN_TOO_LARGE = Kind(
    "plan_too_large",
    422,
    "这些数值意味着同时进行 {load:.0f} 个任务，超出可规划的 {limit:.0f} 个。",
    "These values mean {load:.0f} jobs at once; at most {limit:.0f} can be planned.",
    "请核对人数、每小时任务数、语音长度和 RTF 的单位。",
    "Check the units of users, jobs per hour, seconds of speech and RTF.",
)
NETCHECK_URL_INVALID = Kind(
    "netcheck_url_invalid",
    400,
    "“{url}”不是可以检查的地址：{reason}。",
    "{url!r} is no address that can be checked: {reason}.",
    "请写成 http://主机 或 https://主机:端口，即浏览器中打开本服务的地址。",
    "Write it as http://host or https://host:port, as the browser opens the service.",
)
NETCHECK_UNREACHABLE = Kind(
    "netcheck_unreachable",
    503,
    "{url} 没有应答：{reason}。",
    "Nobody answers at {url}: {reason}.",
    "请检查地址、端口与防火墙，以及那里的 nginx 是否在运行。",
    "Check address, port and firewall, and whether nginx runs there.",
)
NETCHECK_TLS_FAILED = Kind(
    "netcheck_tls_failed",
    502,
    "与 {url} 的加密连接（TLS）没有建立：{reason}。",
    "No TLS connection could be made to {url}: {reason}.",
    "请检查证书的名称、有效期与签发者；自建 CA 请用 --ca 指定；没有 TLS 的服务请用 http://。",
    "Check the certificate's name, dates and issuer; give your own CA with --ca; "
    "a service without TLS is asked with http://.",
)
NETCHECK_MOVED = Kind(
    "netcheck_moved",
    421,
    "{url} 转到了 {location}。",
    "{url} sends its visitors to {location}.",
    "请直接检查那个地址。",
    "Check that address instead.",
)
NETCHECK_NOT_COSYHOST = Kind(
    "netcheck_not_cosyhost",
    502,
    "{url} 有应答，但不是 CosyHost（或版本太旧）：{reason}。",
    "What answers at {url} is no CosyHost, or one that is too old: {reason}.",
    "请核对地址；若确是本服务，请先升级。",
    "Check the address; if it is the service, upgrade it first.",
)
NETCHECK_REFUSED = Kind(
    "netcheck_refused",
    403,
    "{url} 拒绝了检查：{reason}。",
    "{url} refused the check: {reason}.",
    "请按其说明处理，或请管理员放行您的网络。",
    "Do what it says, or ask the operator to let your network in.",
)
NETCHECK_TOO_OFTEN = Kind(
    "netcheck_too_often",
    429,
    "来自您的地址的检查过于频繁。",
    "Your address has checked too often.",
    "请等一分钟再检查。",
    "Wait a minute, then check again.",
)
NETCHECK_BROKEN_OFF = Kind(
    "netcheck_broken_off",
    502,
    "检查进行到 {step} 时，与 {url} 的连接断了：{reason}。",
    "The check broke off during {step}: {url}: {reason}.",
    "请再试一次；若总是如此，请检查沿途的代理与防火墙，并查看服务日志。",
    "Try again; if it stays so, look at proxies and firewalls on the way, and at the journal.",
)
NETCHECK_TOO_MUCH = Kind(
    "netcheck_too_much",
    413,
    "一次检查最多上传 {limit} 字节。",
    "A check takes at most {limit} bytes at once.",
    "请少发一些；上限见 GET /v1/netcheck。",
    "Send less; GET /v1/netcheck tells the limits.",
)
INSPECT_UNREADABLE = Kind(
    "inspect_unreadable",
    404,
    "读不了 {file}：{reason}。",
    "{file} cannot be read: {reason}.",
    "请给出一个可读的音频文件；用 - 表示标准输入。",
    "Give an audio file that you may read, or - for standard input.",
)
INSPECT_NOT_AUDIO = Kind(
    "inspect_not_audio",
    422,
    "这不是可以检查的音频文件。",
    "This is no audio file that can be inspected.",
    "可检查 WAV、FLAC、Ogg 和 MP3；PCM 没有地方写标识，其标识在响应头 X-CosyHost-Label 中。",
    "WAV, FLAC, Ogg and MP3 can be; PCM has no room for a label, which came in the response header "
    "X-CosyHost-Label.",
)
INSPECT_CUT = Kind(
    "inspect_cut",
    422,
    "文件在标签部分就断了，或已损坏。",
    "The file ends within its tags, or is damaged there.",
    "请重新下载完整的文件。",
    "Download the whole file again.",
)

KINDS: dict[str, Kind] = {
    kind.code: kind for kind in list(globals().values()) if isinstance(kind, Kind)
}

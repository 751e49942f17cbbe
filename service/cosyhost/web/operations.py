"""The API in words: each operation in both languages, with a sample that runs and its refusals.

The samples take `$COSYHOST` for the address of the service, `$JOB` for the id of a job, and a
recording in `prompt.wav`. A test runs all of them, in the order of this table.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from cosyhost import errors as e
from cosyhost.uploads import CHUNK_BYTES

_CONSENT = (e.CONSENT_MISSING, e.TRAIL_UNAVAILABLE)
_STORED = (e.STORE_UNAVAILABLE, e.STORAGE_FULL)
_INTAKE = (
    *(e.TEXT_EMPTY, e.TEXT_NO_WORDS, e.TEXT_CONTROL_TOKENS, e.TEXT_TOO_LONG),
    *(e.MODE_UNKNOWN, e.MODE_NEEDS_PROMPT_TEXT, e.MODE_NEEDS_INSTRUCTIONS),
    *(e.SPEED_OUT_OF_RANGE, e.FORMAT_UNKNOWN, e.REQUEST_INVALID, e.PROMPT_MISSING),
    *(e.VOICE_UNKNOWN, e.UPLOAD_UNKNOWN, e.REF_AUDIO_INVALID, *_CONSENT),
    *(e.QUEUE_FULL, e.QUEUE_UNAVAILABLE, *_STORED),
)
_PROMPT = (
    *(e.BODY_TOO_LARGE, e.PROMPT_TOO_LARGE, e.PROMPT_EMPTY, e.PROMPT_NOT_AUDIO),
    *(e.PROMPT_TRUNCATED, e.PROMPT_TOO_SHORT, e.PROMPT_TOO_LONG, e.PROMPT_LOW_RATE),
    *(e.PROMPT_UNUSUAL, e.PROMPT_SILENT, e.PROMPT_CLIPPED),
)
_SPOKEN = (e.JOB_CANCELLED, e.JOB_TIMEOUT, e.JOB_FAILED_REPEATEDLY, e.ENGINE_FAILED)
_JOB = (e.JOB_UNKNOWN, e.QUEUE_UNAVAILABLE)
_UPLOAD = (e.REQUEST_INVALID, e.UPLOAD_DAMAGED, *_PROMPT, e.QUEUE_UNAVAILABLE, *_STORED)

_VOICE = {
    "name": "Alice",
    "ref_text": "希望你以后能够做得比我还好哟。",
    "speaker_description": "",
    "consent": "Alice, 2025-11-03",
    "created_at": 1762128000,
    "duration_s": 6.0,
}
_QUEUED = {
    "id": "0b54a2f7c3de4f6f9a3b5b1f0c7a9e21",
    "state": "queued",
    "mode": "zero_shot",
    "engine": None,
    "preview": False,
    "attempts": 0,
    "position": 1,
    "eta_s": 0.0,
    "created_at": 1762128000.125,
    "title": "今天天气很好，我们去公园散步吧。",
    "spoken_s": None,
    "audio_s": None,
    "upload_bytes": 80,
    "timings_s": {"upload": 0.0},
}
_DONE = {
    **_QUEUED,
    "state": "done",
    "engine": "espeak",
    "preview": True,
    "attempts": 1,
    "position": None,
    "eta_s": None,
    "spoken_s": 3.21,
    "audio_s": 3.21,
    "timings_s": {"upload": 0.0, "queue": 0.003, "ttfa": 0.021, "synth": 0.031, "encode": 0.001},
}
_UPLOADED = {
    "complete": True,
    "sha256": "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
    "seconds": 6.0,
    "sample_rate": 24000,
}
_SPEECHES = {
    "a stored voice": {"input": "今天天气很好，我们去公园散步吧。", "voice": "Alice"},
    "a dialect": {"input": "今天天气很好。", "voice": "Alice", "instructions": "请用四川话表达。"},
    "another language, slower": {
        "input": "What a fine day for a walk.",
        "voice": "Alice",
        "mode": "cross_lingual",
        "speed": 0.8,
        "seed": 7,
    },
}
_TIMINGS = (
    "`Server-Timing` is in milliseconds: `upload` (with its bytes), `queue`, `ttfa` (to the first "
    "sound since the job was asked for), `synth`, `encode`."
)
_TIMINGS_ZH = (
    "`Server-Timing` 单位为毫秒：`upload` 上传（附字节数）、`queue` 排队、"
    "`ttfa` 从提交到首个声音、`synth` 合成、`encode` 编码与保存。"
)
_CHUNK = f"{CHUNK_BYTES // 1024} KiB"
_NETCHECK = {
    "service": "cosyhost",
    "version": "0.1.0",
    "tier": "demo",
    "link": {"min_up_mbit": 50, "min_down_mbit": 50},
    "limits": {"download_bytes": 4000000, "upload_bytes": 2000000},
    "prompt": {"seconds": 15, "bytes": {"wav48": 2880044, "flac": 414792, "opus": 122325}},
}
_JSON = "-H 'Content-Type: application/json'"
_CURL = "curl -sS --fail-with-body"
# The cookie says whose job or upload it is.
_MINE = f"{_CURL} -b cookies -c cookies"


@dataclass(frozen=True)
class Operation:
    """What the page says of one operation beside its parameters.

    `answers` has an example for each good status: a value for JSON, `{"media/type": text}` for
    anything else (an empty text for sound), None for no body.
    """

    en: str
    zh: str
    sample: str
    answers: dict[int, Any]
    kinds: tuple[e.Kind, ...] = ()
    more: str = ""
    requests: dict[str, Any] = field(default_factory=dict)


OPERATIONS: dict[tuple[str, str], Operation] = {
    ("POST", "/v1/audio/voices"): Operation(
        "Store a voice",
        "保存音色",
        f"{_CURL} $COSYHOST/v1/audio/voices -F name=Alice -F audio_sample=@prompt.wav \\\n"
        "  -F 'ref_text=希望你以后能够做得比我还好哟。' -F 'consent=Alice, 2025-11-03'",
        {200: {"success": True, "voice": _VOICE}},
        (
            *(e.VOICE_EXISTS, e.VOICE_NAME_INVALID, e.TEXT_CONTROL_TOKENS, e.REQUEST_INVALID),
            *(e.PROMPT_MISSING, e.UPLOAD_UNKNOWN, *_PROMPT, *_STORED, *_CONSENT),
        ),
        "It is there only when its audio is whole and valid. Instead of `audio_sample`, `upload` "
        "names an upload of yours. The voice keeps its `consent`; where that is required, one "
        "without is not stored.\n\n音频完整、有效才会保存；也可用 `upload` 指定已上传的音频。"
        "`consent`（谁同意的）随音色保存；要求填写时，不填则不保存。",
    ),
    ("GET", "/v1/audio/voices"): Operation(
        "List the voices",
        "列出音色",
        f"{_CURL} $COSYHOST/v1/audio/voices",
        {200: {"voices": ["Alice"], "uploaded_voices": [_VOICE]}},
        (e.STORE_UNAVAILABLE,),
    ),
    ("GET", "/v1/audio/voices/{name}/audio"): Operation(
        "Listen to a voice's prompt",
        "试听音色",
        f"{_CURL} $COSYHOST/v1/audio/voices/Alice/audio -o alice.wav",
        {200: {"audio/wav": ""}},
        (e.VOICE_UNKNOWN, e.STORE_UNAVAILABLE),
    ),
    ("POST", "/v1/audio/speech"): Operation(
        "Speak a text",
        "合成语音",
        f"{_CURL} $COSYHOST/v1/audio/speech {_JSON} \\\n"
        '  -d \'{"input": "今天天气很好，我们去公园散步吧。", "voice": "Alice"}\' -o speech.wav\n'
        "\n"
        "# With the prompt in the request · 提示音频随请求发送\n"
        'printf \'{"input": "你好。", "ref_text": "希望你以后能够做得比我还好哟。", '
        '"response_format": "opus", "consent": "Alice, 2025-11-03", '
        '"ref_audio": "data:audio/wav;base64,%s"}\' \\\n'
        f'  "$(base64 -w0 prompt.wav)" | {_CURL} $COSYHOST/v1/audio/speech {_JSON} \\\n'
        "  -d @- -o speech.ogg\n"
        "\n"
        "# As events, each with base64 PCM · 以事件流返回\n"
        f"{_CURL} -N $COSYHOST/v1/audio/speech {_JSON} \\\n"
        '  -d \'{"input": "你好。", "voice": "Alice", "stream_format": "sse"}\'',
        {
            200: {
                "audio/wav": "",
                "audio/flac": "",
                "audio/mpeg": "",
                "audio/ogg": "",
                "audio/pcm": "",
                "text/event-stream": 'data: {"type": "speech.audio.delta", "audio": "AAAA"}\n\n'
                'data: {"type": "speech.audio.done"}\n\n',
            }
        },
        (*_INTAKE, *_PROMPT, *_SPOKEN),
        "As OpenAI has it. WAV, PCM and events leave while they are made, the other formats once "
        "they are whole. A client that leaves cancels its job. `Server-Timing` says where the time "
        "went, `X-CosyHost-Engine` who spoke, `X-CosyHost-Job` which job it was, and "
        "`X-CosyHost-Label` is the mark of AI-generated sound that every file carries too. Where "
        "`consent` is required, a prompt in the request needs one; a stored voice has its own.\n\n"
        f"{_TIMINGS} What is streamed can't know the last two yet; the job's document can.\n\n"
        "与 OpenAI 接口一致。WAV、PCM 和事件流边生成边发送，其他格式生成完再发送；"
        "客户端断开即取消。响应头 `X-CosyHost-Label` 与文件中的标识相同：人工智能生成。"
        "要求填写 `consent` 时，随请求发送的提示音频必须附上；已保存的音色自带。\n\n"
        f"{_TIMINGS_ZH}流式返回时还没有后两项，可在任务信息中查看。",
        _SPEECHES,
    ),
    ("POST", "/v1/jobs"): Operation(
        "Queue a job",
        "提交任务",
        f"{_MINE} $COSYHOST/v1/jobs {_JSON} \\\n"
        '  -d \'{"input": "今天天气很好，我们去公园散步吧。", "voice": "Alice"}\'',
        {202: _QUEUED},
        (*_INTAKE, *_PROMPT),
        "The body of `POST /v1/audio/speech`; the answer comes at once. The cookie it sets makes "
        "the job yours.\n\n"
        "请求体同 `POST /v1/audio/speech`，立即返回；返回的 cookie 表明任务归属。",
        _SPEECHES,
    ),
    ("GET", "/v1/jobs/{job_id}/events"): Operation(
        "Follow a job",
        "跟踪任务",
        f"{_CURL} -N $COSYHOST/v1/jobs/$JOB/events",
        {200: {"text/event-stream": 'retry: 2000\n\ndata: {"id": "0b54…", "state": "done"}\n\n'}},
        _JOB,
        "The job's document at each change, until it has ended.\n\n"
        "每次变化发送一次，直到任务结束。",
    ),
    ("GET", "/v1/jobs"): Operation(
        "List your jobs",
        "列出自己的任务",
        f"{_MINE} $COSYHOST/v1/jobs",
        {200: {"jobs": [_DONE]}},
        (e.QUEUE_UNAVAILABLE,),
        "Newest first, at most 50.\n\n最新的在前，最多 50 个。",
    ),
    ("GET", "/v1/jobs/{job_id}"): Operation(
        "See where a job stands",
        "查询任务",
        f"{_CURL} $COSYHOST/v1/jobs/$JOB",
        {200: _DONE},
        _JOB,
        "Whoever knows the id may look and listen; only who queued the job may end it. `timings_s` "
        "are the phases of `Server-Timing` that are over, in seconds; `upload_bytes` came in those "
        "of `upload`.\n\n"
        "知道编号即可查询和收听；只有提交者可以取消或删除。`timings_s` 为已结束的各阶段用时（秒），"
        "含义同 `Server-Timing`；`upload_bytes` 是 `upload` 这段时间内传输的字节数。",
    ),
    ("GET", "/v1/jobs/{job_id}/audio"): Operation(
        "Hear a job",
        "获取语音",
        f'{_CURL} "$COSYHOST/v1/jobs/$JOB/audio?response_format=flac" -o output.flac\n'
        f"{_CURL} -r 0-1023 $COSYHOST/v1/jobs/$JOB/audio -o head.wav",
        {
            200: {"audio/wav": "", "audio/flac": "", "audio/mpeg": "", "audio/ogg": ""},
            206: {"audio/wav": ""},
            304: None,
        },
        (
            *(*_JOB, *_SPOKEN, e.OUTPUT_GONE, e.RANGE_NOT_SATISFIABLE, e.FORMAT_UNKNOWN),
            e.STORE_UNAVAILABLE,
        ),
        "While the job runs, as it is made; afterwards from the store, with `ETag` and ranges. "
        "`Server-Timing` as of `POST /v1/audio/speech`.\n\n"
        "生成中边生成边发送；完成后取自存储，支持 `ETag` 和分段。"
        "`Server-Timing` 同 `POST /v1/audio/speech`。",
    ),
    ("DELETE", "/v1/jobs/{job_id}"): Operation(
        "Cancel or forget a job",
        "取消或删除任务",
        f"{_MINE} -X DELETE $COSYHOST/v1/jobs/$JOB\n"
        f'{_MINE} -X DELETE "$COSYHOST/v1/jobs/$JOB?forget=true"',
        {200: _DONE, 204: None},
        (*_JOB, e.STORE_UNAVAILABLE),
        "A waiting job is not begun, a running one stops at its next chunk; one that has ended "
        "stays as it is. With `forget=true` the job, its place in your history and its output are "
        "removed: 204.\n\n排队的不再开始，进行中的在下一段停止；`forget=true` 会删除记录和语音。",
    ),
    ("PATCH", "/v1/uploads/{sha256}"): Operation(
        "Send a chunk",
        "上传分块",
        "SHA=$(sha256sum prompt.wav | cut -c1-64) SIZE=$(stat -c %s prompt.wav)\n"
        f"for AT in $(seq 0 {CHUNK_BYTES} $((SIZE - 1))); do\n"
        f"  tail -c +$((AT + 1)) prompt.wav | head -c {CHUNK_BYTES} |\n"
        f"    {_MINE} -X PATCH $COSYHOST/v1/uploads/$SHA --data-binary @- \\\n"
        '      -H "Upload-Offset: $AT" -H "Upload-Length: $SIZE"\n'
        "done",
        {200: _UPLOADED, 204: None},
        (*_UPLOAD, e.UPLOAD_OFFSET_WRONG, e.UPLOAD_QUOTA),
        f"{_CHUNK} each (the last may be shorter), in any order, again if need be; the cookie says "
        "whose upload it is. The last one is answered with 200: the audio was checked.\n\n"
        f"每块 {_CHUNK}（最后一块可短），顺序不限，可重发；最后一块返回 200，表示音频已检查。",
    ),
    ("GET", "/v1/uploads/{sha256}"): Operation(
        "See what has arrived",
        "查询上传",
        "SHA=$(sha256sum prompt.wav | cut -c1-64)\n" + f"{_MINE} $COSYHOST/v1/uploads/$SHA",
        {200: _UPLOADED},
        (*_UPLOAD, e.UPLOAD_UNKNOWN),
        "`complete`, or `length` and the chunks that are there (`have`).\n\n"
        "返回 `complete`，或总长 `length` 与已收到的分块 `have`。",
    ),
    ("HEAD", "/v1/uploads/{sha256}"): Operation(
        "See what has arrived, in headers",
        "查询上传（仅响应头）",
        "SHA=$(sha256sum prompt.wav | cut -c1-64)\n" + f"{_MINE} -I $COSYHOST/v1/uploads/$SHA",
        {200: None},
        (*_UPLOAD, e.UPLOAD_UNKNOWN),
    ),
    ("DELETE", "/v1/uploads/{sha256}"): Operation(
        "Forget an unfinished upload",
        "放弃上传",
        f"SHA=$(sha256sum prompt.wav | cut -c1-64)\n{_MINE} -X DELETE $COSYHOST/v1/uploads/$SHA",
        {204: None},
        (e.REQUEST_INVALID, e.QUEUE_UNAVAILABLE),
    ),
    ("PATCH", "/v1/audio/voices/{name}"): Operation(
        "Rename a voice",
        "重命名音色",
        f'{_CURL} -X PATCH $COSYHOST/v1/audio/voices/Alice {_JSON} -d \'{{"name": "Bob"}}\'',
        {200: {"success": True, "voice": {**_VOICE, "name": "Bob"}}},
        (
            *(e.VOICE_UNKNOWN, e.VOICE_EXISTS, e.VOICE_NAME_INVALID, e.REQUEST_INVALID),
            *(*_STORED, e.TRAIL_UNAVAILABLE),
        ),
        "",
        {"a new name": {"name": "Bob"}},
    ),
    ("DELETE", "/v1/audio/voices/{name}"): Operation(
        "Delete a voice",
        "删除音色",
        f"{_CURL} -X DELETE $COSYHOST/v1/audio/voices/Bob",
        {200: {"success": True, "message": "Voice 'Bob' deleted."}},
        (e.VOICE_UNKNOWN, e.STORE_UNAVAILABLE, e.TRAIL_UNAVAILABLE),
    ),
    ("GET", "/v1/models"): Operation(
        "See which engine speaks",
        "查询引擎",
        f"{_CURL} $COSYHOST/v1/models",
        {
            200: {
                "object": "list",
                "data": [
                    {"id": "espeak", "object": "model", "owned_by": "cosyhost", "preview": True}
                ],
            }
        },
        more="In OpenAI's shape. `preview`: it speaks, but clones no voice.\n\n"
        "与 OpenAI 格式一致。`preview` 表示预览引擎，不克隆音色。",
    ),
    ("GET", "/v1/netcheck"): Operation(
        "See what a line to here can be asked",
        "查询网络检查的条件",
        f"{_CURL} $COSYHOST/v1/netcheck",
        {200: _NETCHECK},
        more="What the tier asks of this host's line (Mbit/s, 0: nothing), what one request of a "
        "check may carry, and what a prompt weighs. `cosyhost netcheck URL` measures with it.\n\n"
        "本级别对主机线路的要求（Mbit/s，0 表示不要求）、每次检查的字节上限，以及提示音频的大小。",
    ),
    ("GET", "/v1/netcheck/ping"): Operation(
        "Measure the way there and back",
        "测量延迟",
        f"{_CURL} $COSYHOST/v1/netcheck/ping -w '%{{time_starttransfer}} s\\n'",
        {204: None},
    ),
    ("GET", "/v1/netcheck/download"): Operation(
        "Measure the download",
        "测量下载",
        f'{_CURL} "$COSYHOST/v1/netcheck/download?bytes=1000000" -o /dev/null \\\n'
        "  -w '%{speed_download} bytes/s\\n'",
        {200: {"application/octet-stream": ""}},
        (e.REQUEST_INVALID,),
        "Random bytes, which nothing on the way can make smaller.\n\n随机字节，途中无法压缩。",
    ),
    ("POST", "/v1/netcheck/upload"): Operation(
        "Measure the upload",
        "测量上传",
        f"head -c 1000000 /dev/urandom | {_CURL} $COSYHOST/v1/netcheck/upload --data-binary @- \\\n"
        "  -H 'Content-Type: application/octet-stream'",
        {200: {"bytes": 1000000}},
        (e.NETCHECK_TOO_MUCH, e.BODY_TOO_LARGE),
        "The body is dropped as it arrives; the answer comes when all of it has.\n\n"
        "收到即丢弃，全部到达后才返回。",
    ),
    ("GET", "/readyz"): Operation(
        "Whether a job would be spoken now",
        "是否可以合成",
        f"{_CURL} $COSYHOST/readyz",
        {
            200: {
                "version": "0.1.0",
                "workers": 2,
                "modes": ["cross_lingual", "instruct", "zero_shot"],
                "redis": "ok",
                "store": "ok",
                "trail": "ok",
                "ready": True,
            }
        },
        more="503 with the same document, and in it what is missing, if not.\n\n"
        "不可用时返回 503 和同样的内容，说明缺什么。",
    ),
    ("GET", "/healthz"): Operation(
        "Whether the service answers",
        "服务是否存活",
        f"{_CURL} $COSYHOST/healthz",
        {200: {"status": "ok", "version": "0.1.0"}},
    ),
}

"""The studio's words in both languages; the browser's language chooses."""

from __future__ import annotations

EN = {
    "subtitle": "Clone a voice from 3 to 30 s of speech, and let it say your text.",
    "preview": "PREVIEW ENGINE: espeak-ng speaks here, with the pitch of your prompt. "
    "It clones no voice.",
    "mode": "Mode",
    "text": "Text to speak",
    "text_hint": "Chinese, English, Japanese, Korean, German, Spanish, French, Italian, Russian",
    "voice": "Stored voice",
    "no_voice": "none: use the prompt audio below",
    "prompt": "Prompt audio: 3 to 30 s, one speaker, little noise",
    "prompt_text": "Prompt text: what the prompt audio says",
    "instruction": "Instruction: how to speak, in plain words",
    "speed": "Speed",
    "generate": "Generate",
    "cancel": "Cancel",
    "result": "Result",
    "queued": "Waiting: place {position} in the queue{eta}.",
    "eta": ", about {seconds:.0f} s",
    "running": "Speaking… {seconds:.0f} s",
    "done": "Done: {audio:.1f} s of speech in {total:.1f} s "
    "(queue {queue:.1f} s, synthesis {synth:.1f} s).",
    "download": "Download",
    "cancelled": "Cancelled.",
    "failed": "That did not work",
}
ZH = {
    "subtitle": "用 3 到 30 秒的录音克隆声音，朗读您的文字。",
    "preview": "预览引擎：这里由 espeak-ng 按提示音频的音高朗读，并没有克隆声音。",
    "mode": "模式",
    "text": "要朗读的文字",
    "text_hint": "中文、英语、日语、韩语、德语、西班牙语、法语、意大利语、俄语",
    "voice": "已存音色",
    "no_voice": "不用：使用下面的提示音频",
    "prompt": "提示音频：3 到 30 秒，一个人，少杂音",
    "prompt_text": "提示文本：提示音频里说了什么",
    "instruction": "指令：用一句话说明怎么读",
    "speed": "语速",
    "generate": "生成",
    "cancel": "取消",
    "result": "结果",
    "queued": "排队中：第 {position} 位{eta}。",
    "eta": "，约 {seconds:.0f} 秒",
    "running": "正在生成…… {seconds:.0f} 秒",
    "done": "完成：{audio:.1f} 秒语音，用时 {total:.1f} 秒"
    "（排队 {queue:.1f} 秒，合成 {synth:.1f} 秒）。",
    "download": "下载",
    "cancelled": "已取消。",
    "failed": "没有成功",
}
MODES = {
    "zero_shot": "3 秒极速复刻 · zero-shot",
    "cross_lingual": "跨语种复刻 · cross-lingual",
    "instruct": "自然语言控制 · instruct",
}

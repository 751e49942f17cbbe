"""Instructions CosyVoice3 was trained on, by what they do; free text works beside them."""

from __future__ import annotations

DIALECTS = "广东 东北 甘肃 贵州 河南 湖北 湖南 江西 闽南 宁夏 山西 陕西 山东 上海 四川 天津 云南"

PRESETS: dict[str, str] = {
    **{f"{name}话": f"请用{name}话表达。" for name in DIALECTS.split(" ")},
    "开心 happy": "请非常开心地说一句话。",
    "伤心 sad": "请非常伤心地说一句话。",
    "生气 angry": "请非常生气地说一句话。",
    "大声 loud": "请大声地说一句话。",
    "轻声 soft": "请轻声地说一句话。",
    "快速 fast": "请用尽可能快的语速说一句话。",
    "慢速 slow": "请用尽可能慢的语速说一句话。",
}
EXAMPLES: dict[str, list[list[str]]] = {
    "zero_shot": [
        ["收到好友从远方寄来的生日礼物，那份意外的惊喜让我心中充满了甜蜜的快乐。"],
        ["The best time to plant a tree was twenty years ago. The second best time is now."],
    ],
    "cross_lingual": [
        ["Hello, this voice has never spoken English before."],
        ["こんにちは。今日はとてもいい天気ですね。"],
    ],
    "instruct": [["今天的天气真好，我们一起去公园走走吧。"]],
}

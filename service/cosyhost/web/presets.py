"""Instructions CosyVoice3 was trained on, by what they do; free text works beside them."""

from __future__ import annotations

MODES = ("zero_shot", "cross_lingual", "instruct")

_DIALECTS = {
    "广东": "Cantonese",
    "东北": "Northeastern",
    "甘肃": "Gansu",
    "贵州": "Guizhou",
    "河南": "Henan",
    "湖北": "Hubei",
    "湖南": "Hunan",
    "江西": "Jiangxi",
    "闽南": "Southern Min",
    "宁夏": "Ningxia",
    "山西": "Shanxi",
    "陕西": "Shaanxi",
    "山东": "Shandong",
    "上海": "Shanghai",
    "四川": "Sichuan",
    "天津": "Tianjin",
    "云南": "Yunnan",
}
PRESETS: dict[str, list[dict[str, str]]] = {
    "dialects": [
        {"zh": f"{zh}话", "en": en, "say": f"请用{zh}话表达。"} for zh, en in _DIALECTS.items()
    ],
    "feelings": [
        {"zh": "开心", "en": "Happy", "say": "请非常开心地说一句话。"},
        {"zh": "伤心", "en": "Sad", "say": "请非常伤心地说一句话。"},
        {"zh": "生气", "en": "Angry", "say": "请非常生气地说一句话。"},
        {"zh": "大声", "en": "Loud", "say": "请大声地说一句话。"},
        {"zh": "轻声", "en": "Soft", "say": "请轻声地说一句话。"},
        {"zh": "快速", "en": "Fast", "say": "请用尽可能快的语速说一句话。"},
        {"zh": "慢速", "en": "Slow", "say": "请用尽可能慢的语速说一句话。"},
    ],
}
"""By group: the name in both languages, and the instruction."""

EXAMPLES: dict[str, list[str]] = {
    "zero_shot": [
        "收到好友从远方寄来的生日礼物，那份意外的惊喜让我心中充满了甜蜜的快乐。",
        "The best time to plant a tree was twenty years ago. The second best time is now.",
    ],
    "cross_lingual": [
        "Hello, this voice has never spoken English before.",
        "こんにちは。今日はとてもいい天気ですね。",
    ],
    "instruct": [
        "今天的天气真好，我们一起去公园走走吧。",
        "下班以后，咱们去吃火锅，好不好？",
    ],
}
"""Texts to try, by mode."""

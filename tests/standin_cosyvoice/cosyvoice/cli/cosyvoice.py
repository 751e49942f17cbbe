"""STAND-IN for upstream's front door: `AutoModel` and the three modes. It is no speech model."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from ..llm.llm import LanguageModel
from ..tensor import Tensor
from ..utils.file_utils import logging
from .frontend import FrontEnd
from .model import SAMPLE_RATE, CosyVoice3Model, Flow


def tqdm(items: Iterable[str]) -> Iterator[str]:
    """STAND-IN for the progress bar, which writes to stderr."""
    for number, item in enumerate(items):
        sys.stderr.write(f"\r{number}it [00:00, ?it/s]")
        yield item


class CosyVoice3:
    """STAND-IN for the class of the same name."""

    def __init__(
        self,
        model_dir: str,
        load_trt: bool = False,
        load_vllm: bool = False,
        fp16: bool = False,
        trt_concurrent: int = 1,
    ) -> None:
        for name in ("llm.pt", "flow.pt", "hift.pt", "campplus.onnx", "speech_tokenizer_v3.onnx"):
            with (Path(model_dir) / name).open("rb") as file:
                file.read()
        self.model_dir = model_dir
        self.fp16 = fp16
        self.load_trt = load_trt
        self.sample_rate = SAMPLE_RATE
        self.frontend = FrontEnd()
        self.model = CosyVoice3Model(LanguageModel(), Flow(), fp16)

    def add_zero_shot_spk(self, prompt_text: str, prompt_wav: Any, zero_shot_spk_id: str) -> bool:
        """Keep what a prompt gives, under a name."""
        assert zero_shot_spk_id != "", "do not use empty zero_shot_spk_id"
        entry = self.frontend.frontend_zero_shot("", prompt_text, prompt_wav, self.sample_rate, "")
        del entry["text"], entry["text_len"]
        self.frontend.spk2info[zero_shot_spk_id] = entry
        return True

    def save_spkinfo(self) -> None:
        """Upstream writes the table over the old one, not atomically: nobody should call this."""
        (Path(self.model_dir) / "spk2info.pt").write_text(str(list(self.frontend.spk2info)))

    def _speak(
        self, segment: str, entry: dict[str, Tensor], stream: bool, speed: float
    ) -> Iterator[dict[str, Tensor]]:
        logging.info("synthesis text %s", segment)
        self.model.broken_sound = "NANSOUND" in segment
        for output in self.model.tts(**entry, stream=stream, speed=speed):
            logging.info("yield speech len %s", output["tts_speech"].shape[1] / SAMPLE_RATE)
            yield output

    def inference_zero_shot(
        self,
        tts_text: str,
        prompt_text: str,
        prompt_wav: Any,
        zero_shot_spk_id: str = "",
        stream: bool = False,
        speed: float = 1.0,
        text_frontend: bool = True,
    ) -> Iterator[dict[str, Tensor]]:
        """Like the prompt's speaker, in the prompt's language."""
        prompt_text = self.frontend.text_normalize(prompt_text, False, text_frontend)
        for segment in tqdm(self.frontend.text_normalize(tts_text, True, text_frontend)):
            if len(segment) < 0.5 * len(prompt_text):
                logging.warning("synthesis text %s too short than %s", segment, prompt_text)
            entry = self.frontend.frontend_zero_shot(
                segment, prompt_text, prompt_wav, self.sample_rate, zero_shot_spk_id
            )
            yield from self._speak(segment, entry, stream, speed)

    def inference_cross_lingual(
        self,
        tts_text: str,
        prompt_wav: Any,
        zero_shot_spk_id: str = "",
        stream: bool = False,
        speed: float = 1.0,
        text_frontend: bool = True,
    ) -> Iterator[dict[str, Tensor]]:
        """Like the prompt's speaker, in another language."""
        for segment in tqdm(self.frontend.text_normalize(tts_text, True, text_frontend)):
            entry = self.frontend.frontend_cross_lingual(
                segment, prompt_wav, self.sample_rate, zero_shot_spk_id
            )
            yield from self._speak(segment, entry, stream, speed)

    def inference_instruct2(
        self,
        tts_text: str,
        instruct_text: str,
        prompt_wav: Any,
        zero_shot_spk_id: str = "",
        stream: bool = False,
        speed: float = 1.0,
        text_frontend: bool = True,
    ) -> Iterator[dict[str, Tensor]]:
        """Like the prompt's speaker, in the manner that is asked for."""
        for segment in tqdm(self.frontend.text_normalize(tts_text, True, text_frontend)):
            entry = self.frontend.frontend_instruct2(
                segment, instruct_text, prompt_wav, self.sample_rate, zero_shot_spk_id
            )
            yield from self._speak(segment, entry, stream, speed)


def AutoModel(**wish: Any) -> CosyVoice3:
    """The model in a directory; upstream starts a download when it is not there."""
    folder = Path(wish["model_dir"])
    if not folder.exists():
        raise AssertionError(f"STAND-IN: upstream would now download {folder}")
    if not (folder / "cosyvoice3.yaml").exists():
        raise TypeError("No valid model type found!")
    return CosyVoice3(**wish)

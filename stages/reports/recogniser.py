"""A pretrained recogniser of speech (Whisper, wav2vec2 with letters ...): what one's own transcripts stand beside."""

from collections.abc import Iterable, Iterator
from typing import Any

import torch

from stages.base.device import Device
from stages.base.errors import InputError
from stages.base.parallel import in_batches
from stages.media.audio import decode_audio
from stages.pretrained import huggingface
from stages.pretrained.bases import Named

BATCH = 8


class Recogniser:
    """A model of Hugging Face that writes down speech by itself."""

    def __init__(self, named: Named, device: Device) -> None:
        """Read the model that a section names.

        Raises:
            InputError: when it cannot be had, or writes down no speech.
        """
        transformers = huggingface.import_transformers()
        folder = huggingface.fetch(named.model, named.revision)
        name, known = huggingface.kind(folder), transformers.models.auto.modeling_auto
        self._writes = name in known.MODEL_FOR_SPEECH_SEQ_2_SEQ_MAPPING_NAMES
        if not self._writes and name not in known.MODEL_FOR_CTC_MAPPING_NAMES:
            raise InputError(f"{named.model}: a model of kind {name} writes down no speech")
        reader = transformers.AutoModelForSpeechSeq2Seq if self._writes else transformers.AutoModelForCTC
        self._model = huggingface.read_weights(reader, folder).to(device.device)
        self._processor, self._pieces = huggingface.read_sound_processor(folder), huggingface.read_tokenizer(folder)

    def transcribe(self, sounds: Iterable[bytes]) -> Iterator[str]:
        """Yield what is said in each encoded sound, as the model writes it.

        Raises:
            AudioError: when one does not decode.
        """
        rate_hz = self._processor.sampling_rate
        for batch in in_batches((decode_audio(data, rate_hz) for data in sounds), BATCH):
            padding = {} if self._writes else {"padding": True}  # a model that writes hears one window, always filled
            given = self._processor(batch, sampling_rate=rate_hz, return_tensors="pt", **padding)
            yield from self._pieces.batch_decode(self._read(given.to(self._model.device)), skip_special_tokens=True)

    @torch.inference_mode()
    def _read(self, given: Any) -> Any:
        return self._model.generate(**given) if self._writes else self._model(**given).logits.argmax(-1)

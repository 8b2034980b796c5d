"""Predict the images of many requests together: while one batch is computed, the next one gathers.
No image waits for others to arrive, so a lone request is as fast as possible."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from stages.conversion.checking import Predict


class Batcher:
    """Predicts at most `max_batch` images at a time, in a thread of its own. `run` must be running;
    `observe` is called with the size of each batch."""

    def __init__(self, predict: Predict, max_batch: int, observe: Callable[[int], None]):
        self.compute = predict
        self.max_batch = max_batch
        self.observe = observe
        self.waiting: asyncio.Queue[tuple[np.ndarray, asyncio.Future]] = asyncio.Queue()

    async def predict(self, image: np.ndarray) -> np.ndarray:
        """The probabilities, float (classes,), of an image uint8 (height, width, channels)."""
        future = asyncio.get_running_loop().create_future()
        self.waiting.put_nowait((image, future))
        return await future

    async def run(self) -> None:
        """Predict the waiting images, until cancelled."""
        loop = asyncio.get_running_loop()
        with ThreadPoolExecutor(1, "predict") as thread:
            while True:
                batch = [await self.waiting.get()]
                while len(batch) < self.max_batch and not self.waiting.empty():
                    batch.append(self.waiting.get_nowait())
                images = [image for image, _ in batch]
                self.observe(len(images))
                try:
                    results = await loop.run_in_executor(
                        thread, lambda images=images: self.compute(np.stack(images))
                    )
                except Exception as error:  # such as too little memory: fail only this batch
                    results = [error] * len(batch)
                for (_, future), result in zip(batch, results):
                    if future.done():  # cancelled: the client has gone
                        continue
                    if isinstance(result, Exception):
                        future.set_exception(result)
                    else:
                        future.set_result(result)

import type { Layer, LayerBytes, WeightLoader } from "./weights.ts";

/**
 * Hands out the layers of a model one after another, as often as asked. When all layers fit into `budget` bytes
 * they are read once and kept; else each is read again every time, one ahead of its use, and two are held.
 */
export class LayerSource {
  /** Whether everything that was read is kept. */
  readonly resident: boolean;
  readonly #loader: WeightLoader;
  readonly #layers: number;
  readonly #kept = new Map<number, LayerBytes>();

  constructor(loader: WeightLoader, layers: number, budget: number) {
    this.#loader = loader;
    this.#layers = layers;
    this.resident = storedBytes(loader, layers) <= budget;
  }

  /** Layers 0, 1, ...; each is freed when the next is asked for, so the work on it must be done by then. */
  async *all(): AsyncGenerator<{ readonly index: number; readonly layer: Layer }> {
    let next = this.#read(0);
    try {
      for (let index = 0; index < this.#layers; index++) {
        const bytes = await next;
        if (index + 1 < this.#layers) next = this.#read(index + 1);
        const layer = await this.#loader.placeLayer(index, bytes);
        try {
          yield { index, layer };
        } finally {
          layer.free();
          if (!this.resident) this.#loader.releaseLayer(bytes);
        }
      }
    } finally {
      await next.catch(() => undefined);
    }
  }

  #read(index: number): Promise<LayerBytes> {
    const kept = this.#kept.get(index);
    if (kept) return Promise.resolve(kept);
    const reading = this.#loader.readLayer(index).then((bytes) => {
      if (this.resident) this.#kept.set(index, bytes);
      return bytes;
    });
    // Awaited one step later; until then its failure is nobody's.
    reading.catch(() => undefined);
    return reading;
  }
}

/** Bytes of all layers as they are read. */
function storedBytes(loader: WeightLoader, layers: number): number {
  let bytes = 0;
  for (let layer = 0; layer < layers; layer++) bytes += loader.storedBytes(layer);
  return bytes;
}

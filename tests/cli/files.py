"""Files that the tests make and read: safetensors, models, token rows, checkpoints.

Only what reads HDF5 or compares arrays needs h5py and numpy.
"""
import array
import json
import pathlib
import random
import struct

try:
    import h5py
    import numpy
except ImportError:
    h5py = numpy = None

LINEARS = ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj", "self_attn.o_proj", "mlp.gate_proj",
           "mlp.up_proj", "mlp.down_proj")
SIZES = {
    "vocab_size": 61, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4,
    "num_key_value_heads": 4, "head_dim": 8, "max_position_embeddings": 256,
}


def model_config(**changes):
    """A small config.json as a dictionary."""
    return {
        "architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_act": "silu",
        "initializer_range": 0.05, "rms_norm_eps": 1e-5, "rope_theta": 10000.0, "rope_scaling": None,
        "attention_bias": False, "mlp_bias": False, "tie_word_embeddings": False, "torch_dtype": "float32",
        **SIZES, **changes,
    }


def model_shapes(config):
    """{tensor name: shape} of a model."""
    d, ff, vocab = config["hidden_size"], config["intermediate_size"], config["vocab_size"]
    q, kv = (config[name] * config["head_dim"] for name in ("num_attention_heads", "num_key_value_heads"))
    one = dict(zip(LINEARS, ((q, d), (kv, d), (kv, d), (d, q), (ff, d), (ff, d), (d, ff))))
    one |= {"input_layernorm": (d,), "post_attention_layernorm": (d,)}
    shapes = {"model.embed_tokens.weight": (vocab, d), "model.norm.weight": (d,)}
    for layer in range(config["num_hidden_layers"]):
        shapes |= {f"model.layers.{layer}.{name}.weight": shape for name, shape in one.items()}
    if not config["tie_word_embeddings"]:
        shapes["lm_head.weight"] = (vocab, d)
    return shapes


def items_of(shape):
    count = 1
    for size in shape:
        count *= size
    return count


def random_tensors(shapes, seed=1):
    """{name: (shape, array of f32)}: norms are 1, all else is uniform."""
    draw = random.Random(seed)
    return {name: (shape, array.array("f", [1.0 if len(shape) == 1 else draw.uniform(-0.2, 0.2)
                                            for _ in range(items_of(shape))]))
            for name, shape in shapes.items()}


def write_safetensors(path, tensors):
    """{name: (shape, array of f32)} as one file."""
    header, at = {"__metadata__": {"format": "pt"}}, 0
    for name, (shape, values) in tensors.items():
        header[name] = {"dtype": "F32", "shape": list(shape), "data_offsets": [at, at + 4 * len(values)]}
        at += 4 * len(values)
    write_parts(path, header, b"".join(values.tobytes() for _, values in tensors.values()))


def write_parts(path, header, data):
    """A safetensors file of this header (a dictionary, or bytes as they are) and these bytes."""
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    pathlib.Path(path).write_bytes(struct.pack("<Q", len(text)) + text + data)


def read_parts(path):
    """(header as a dictionary, data bytes) of a safetensors file."""
    raw = pathlib.Path(path).read_bytes()
    size = struct.unpack("<Q", raw[:8])[0]
    return json.loads(raw[8:8 + size]), raw[8 + size:]


def read_safetensors(path):
    """{name: numpy array} of a file of F32, F64, I64 tensors."""
    header, data = read_parts(path)
    types = {"F32": "<f4", "F64": "<f8", "I64": "<i8"}
    return {name: numpy.frombuffer(data[slice(*entry["data_offsets"])], types[entry["dtype"]])
            .reshape(entry["shape"]) for name, entry in header.items() if name != "__metadata__"}


def make_model(folder, seed=1, **changes):
    """A model folder with random weights; returns the folder."""
    config = model_config(**changes)
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps(config))
    write_safetensors(folder / "model.safetensors", random_tensors(model_shapes(config), seed))
    return folder


def token_rows(count, shortest, longest, vocab, seed=7):
    """Ragged rows of format tokens; the first third of a row's labels is hidden in every second row."""
    draw, rows = random.Random(seed), []
    for i in range(count):
        ids = [draw.randrange(vocab) for _ in range(draw.randint(shortest, longest))]
        hidden = len(ids) // 3 if i % 2 else 0
        rows.append({"input_ids": ids, "labels": [-100] * hidden + ids[hidden:]})
    return rows


def write_rows(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(path)


def read_sets(path):
    """{dataset path: numpy array} of an HDF5 file that nobody writes."""
    sets = {}
    with h5py.File(path, "r") as file:
        file.visititems(lambda name, item: sets.update({name: item[()]}) if isinstance(item, h5py.Dataset) else None)
    return sets


def set_bytes(path):
    """{dataset path: (shape, type, bytes)}: what two states must share to the last bit."""
    return {name: (value.shape, str(value.dtype), value.tobytes()) for name, value in read_sets(path).items()}

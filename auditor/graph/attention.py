"""ONNX Runtime's fused parts of transformers, taken apart: what its and Optimum's tools write beside `contrib`'s.

Keys and values of earlier tokens are no part of a classifier: nodes that read a past stay as they are.
"""

from collections.abc import Sequence

import numpy as np
import onnx_ir as ir

from auditor.graph.build import Builder, shape_of
from auditor.graph.rewriting import rewrites

FILTER = -10000.0  # what ONNX Runtime adds to a score that a mask leaves out


@rewrites("SkipLayerNormalization", output=None)
def _skip_layer_normalization(
    op: Builder,
    x: ir.Value,
    skip: ir.Value,
    gamma: ir.Value,
    beta: ir.Value | None = None,
    bias: ir.Value | None = None,
    *,
    epsilon: float = 1e-12,
) -> Sequence[ir.Value | None] | None:
    total = op.Add(x, skip) if bias is None else op.Add(op.Add(x, skip), bias)
    return op.LayerNormalization(total, gamma, beta, axis=-1, epsilon=epsilon), None, None, total


@rewrites("SkipSimplifiedLayerNormalization", output=None)
def _skip_rms_normalization(
    op: Builder, x: ir.Value, skip: ir.Value, gamma: ir.Value, bias: ir.Value | None = None, *, epsilon: float = 1e-12
) -> Sequence[ir.Value | None] | None:
    total = op.Add(x, skip) if bias is None else op.Add(op.Add(x, skip), bias)
    return op.RMSNormalization(total, gamma, axis=-1, epsilon=epsilon), None, None, total


@rewrites("RotaryEmbedding")
def _rotary_embedding(
    op: Builder,
    x: ir.Value,
    positions: ir.Value,
    cosines: ir.Value,
    sines: ir.Value,
    *,
    interleaved: int = 0,
    num_heads: int = 0,
    rotary_embedding_dim: int = 0,
    is_packed_batching: int = 0,
    scale: float = 1.0,
) -> ir.Value | None:
    """One position is that of the first token."""
    shape = shape_of(x)
    batch, tokens = shape[0], shape[-2]
    if is_packed_batching or scale != 1:
        return None
    if shape_of(positions) == (1,):
        count = op.const(np.arange(tokens, dtype=np.int64)[None])
        positions = op.Expand(op.Add(count, positions), op.ints([batch, tokens]))
    heads = num_heads or shape[-1] // (2 * shape_of(cosines)[1])
    width = {"rotary_embedding_dim": rotary_embedding_dim} if rotary_embedding_dim else {}
    named = {"num_heads": heads} if len(shape) == 3 else {}
    return op.RotaryEmbedding(x, cosines, sines, positions, interleaved=interleaved, **named, **width)


@rewrites("MultiHeadAttention")
def _multi_head_attention(
    op: Builder,
    query: ir.Value,
    key: ir.Value | None = None,
    value: ir.Value | None = None,
    bias: ir.Value | None = None,
    padding: ir.Value | None = None,
    added: ir.Value | None = None,
    *past: ir.Value | None,
    num_heads: int,
    scale: float = 0.0,
    mask_filter_value: float = FILTER,
    unidirectional: int = 0,
) -> ir.Value | None:
    """Of queries (batch, tokens, width); keys and values the same, or split into heads already."""
    if any(past) or key is None or value is None or len(shape_of(query)) != 3:
        return None
    parts = [query, key, value]
    if bias is not None:
        widths = [shape_of(v)[-1] if len(shape_of(v)) == 3 else shape_of(v)[1] * shape_of(v)[3] for v in parts]
        if any(len(shape_of(v)) == 4 for v in parts):
            return None
        pieces = op.Split(bias, op.ints(widths), axis=0, _outputs=3)
        parts = [op.Add(v, b) for v, b in zip(parts, pieces, strict=True)]
    heads = [_heads(op, v, num_heads) if len(shape_of(v)) == 3 else v for v in parts]
    mask = None if padding is None else _mask(op, padding, shape_of(heads[1])[2], mask_filter_value)
    if padding is not None and mask is None:
        return None
    masks = [m for m in (mask, added) if m is not None]
    return _attended(op, heads, masks, scale, unidirectional, mask_filter_value)


@rewrites("Attention")
def _attention(
    op: Builder,
    x: ir.Value,
    weights: ir.Value,
    bias: ir.Value | None = None,
    mask_index: ir.Value | None = None,
    past: ir.Value | None = None,
    added: ir.Value | None = None,
    *more: ir.Value | None,
    num_heads: int,
    scale: float = 0.0,
    mask_filter_value: float = FILTER,
    unidirectional: int = 0,
    qkv_hidden_sizes: Sequence[int] = (),
    do_rotary: int = 0,
    rotary_embedding_dim: int = 0,
    past_present_share_buffer: int = 0,
) -> ir.Value | None:
    """With the projections of queries, keys and values in one matrix."""
    if past is not None or any(more) or do_rotary:
        return None
    projected = op.MatMul(x, weights) if bias is None else op.Add(op.MatMul(x, weights), bias)
    widths = list(qkv_hidden_sizes) or [shape_of(weights)[1] // 3] * 3
    heads = [_heads(op, v, num_heads) for v in op.Split(projected, op.ints(widths), axis=2, _outputs=3)]
    mask = None if mask_index is None else _mask(op, mask_index, shape_of(x)[1], mask_filter_value)
    if mask_index is not None and mask is None:
        return None
    masks = [m for m in (mask, added) if m is not None]
    return _attended(op, heads, masks, scale, unidirectional, mask_filter_value)


def _heads(op: Builder, x: ir.Value, heads: int) -> ir.Value:
    """(batch, tokens, width) -> (batch, heads, tokens, width / heads)."""
    batch, tokens, width = shape_of(x)
    split = op.Reshape(x, op.ints([batch, tokens, heads, width // heads]))
    return op.Transpose(split, perm=[0, 2, 1, 3])


def _mask(op: Builder, mask: ir.Value, keys: int, filter_value: float) -> ir.Value | None:
    """What is added to the scores, (batch, 1, 1 or tokens, keys): of lengths (batch,), or of 1 for a key that counts and 0
    for one that does not, (batch, keys) or (batch, tokens, keys). None for the other forms."""
    rank = len(shape_of(mask))
    if rank == 1:
        numbers = op.const(np.arange(keys, dtype=np.int64)[None])
        counts = op.Less(numbers, op.Unsqueeze(op.Cast(mask, to=ir.DataType.INT64), op.ints([1])))
    elif shape_of(mask)[-1] == keys and rank in (2, 3):
        counts = op.Greater(mask, op.const(0, like=mask))
    else:
        return None
    added = op.Where(counts, op.const(np.float32(0)), op.const(np.float32(filter_value)))
    return op.Unsqueeze(added, op.ints([1] if rank == 3 else [1, 2]))


def _attended(
    op: Builder,
    heads: Sequence[ir.Value],
    masks: Sequence[ir.Value],
    scale: float,
    unidirectional: int,
    filter_value: float,
) -> ir.Value:
    """(batch, heads, tokens, width) each of queries, keys, values -> (batch, tokens, heads * width)."""
    query, key, value = heads
    factor = op.const(scale or 1 / np.sqrt(shape_of(query)[3]), like=query)
    scores = op.Mul(op.MatMul(query, op.Transpose(key, perm=[0, 1, 3, 2])), factor)
    if unidirectional:
        tokens, keys = shape_of(query)[2], shape_of(key)[2]
        later = np.triu(np.ones((tokens, keys), bool), keys - tokens + 1)
        scores = op.Add(scores, op.const(np.where(later, filter_value, 0), like=query))
    for mask in masks:
        scores = op.Add(scores, mask)
    mixed = op.Transpose(op.MatMul(op.Softmax(scores, axis=-1), value), perm=[0, 2, 1, 3])
    batch, tokens, count, width = shape_of(mixed)
    return op.Reshape(mixed, op.ints([batch, tokens, count * width]))

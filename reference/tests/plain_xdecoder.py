"""X-Decoder written out step by step as the organisers' code runs it, in torch's own operations on
the checkpoint's names: masks at full size, boolean attention masks, rows reset by index, a batch
axis.
"""

import math

import torch
import torch.nn.functional as F

HEAD = "sem_seg_head."
DECODER = HEAD + "predictor."
MEAN = torch.tensor([123.675, 116.28, 103.53]).view(1, 3, 1, 1)
STD = torch.tensor([58.395, 57.12, 57.375]).view(1, 3, 1, 1)


def norm(w, name, x, eps=1e-5):
    return F.layer_norm(x, x.shape[-1:], w[name + ".weight"], w[name + ".bias"], eps)


def linear(w, name, x):
    return F.linear(x, w[name + ".weight"], w[name + ".bias"])


def attention(w, name, query, key, value, mask=None):
    """Length x batch x 512; `mask` boolean, True is not seen, or what is added to the scores."""
    return F.multi_head_attention_forward(
        *(query, key, value, 512, 8, w[name + ".in_proj_weight"], w[name + ".in_proj_bias"]),
        *(None, None, False, 0.0, w[name + ".out_proj.weight"], w[name + ".out_proj.bias"]),
        training=False,
        need_weights=False,
        attn_mask=mask,
    )[0]


def padded_to(multiple, x):
    return F.pad(x, (0, -x.shape[3] % multiple, 0, -x.shape[2] % multiple))


def patches(w, name, x, stride, padding):
    """Padded to whole patches on the right and below, as the organisers' code does."""
    x = padded_to(stride, x)
    x = F.conv2d(x, w[name + ".proj.weight"], w[name + ".proj.bias"], stride, padding)
    return norm(w, name + ".norm", x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


def depthwise(w, name, x, bias=True):
    kernel = w[name + ".weight"]
    shift = w[name + ".bias"] if bias else None
    return F.conv2d(x, kernel, shift, padding=kernel.shape[-1] // 2, groups=x.shape[1])


def modulation(w, name, x):
    width = x.shape[-1]
    x = linear(w, name + ".f", x).permute(0, 3, 1, 2)
    query, context, gates = x[:, :width], x[:, width : 2 * width], x[:, 2 * width :]
    total = 0
    for level in range(3):
        context = F.gelu(depthwise(w, f"{name}.focal_layers.{level}.0", context, bias=False))
        total = total + context * gates[:, level : level + 1]
    everywhere = F.gelu(context.mean(2, keepdim=True).mean(3, keepdim=True))
    total = (total + everywhere * gates[:, 3:]) / 4
    total = query * F.conv2d(total, w[name + ".h.weight"], w[name + ".h.bias"])
    return linear(w, name + ".proj", total.permute(0, 2, 3, 1))


def focal_block(w, p, x):
    """1xCxHxW."""
    x = x + depthwise(w, p + "dw1", x)
    x = x.permute(0, 2, 3, 1)
    x = norm(w, p + "norm1", x + w[p + "gamma_1"] * modulation(w, p + "modulation", x))
    x = x + depthwise(w, p + "dw2", x.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)
    hidden = linear(w, p + "mlp.fc1", x)
    hidden = 0.5 * hidden * (1 + torch.erf(hidden / math.sqrt(2)))
    x = norm(w, p + "norm2", x + w[p + "gamma_2"] * linear(w, p + "mlp.fc2", hidden))
    return x.permute(0, 3, 1, 2)


def backbone(w, image):
    p = "backbone."
    x = patches(w, p + "patch_embed", image, 4, 3)
    maps = []
    for level, depth in enumerate((2, 2, 6, 2)):
        for block in range(depth):
            x = focal_block(w, f"{p}layers.{level}.blocks.{block}.", x)
        maps.append(norm(w, f"{p}norm{level}", x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2))
        if level < 3:
            x = patches(w, f"{p}layers.{level}.downsample", x, 2, 1)
    return maps


def sine(height, width, dtype):
    """1x512xHxW, from the formula of one channel at a time."""
    out = torch.empty(1, 512, height, width, dtype=torch.float64)
    for channel in range(256):
        divisor = 10000 ** ((channel // 2) * 2 / 256)
        wave = math.sin if channel % 2 == 0 else math.cos
        for row in range(height):
            angle = (row + 1) / (height + 1e-6) * 2 * math.pi
            out[0, channel, row, :] = wave(angle / divisor)
        for column in range(width):
            angle = (column + 1) / (width + 1e-6) * 2 * math.pi
            out[0, 256 + channel, :, column] = wave(angle / divisor)
    return out.to(dtype)


def group_norm(w, name, x):
    return F.group_norm(x, 32, w[name + ".norm.weight"], w[name + ".norm.bias"])


def pixel_decoder(w, maps):
    p = HEAD + "pixel_decoder."
    x = F.conv2d(maps[3], w[p + "input_proj.weight"], w[p + "input_proj.bias"])
    height, width = x.shape[2:]
    place = sine(height, width, x.dtype).flatten(2).permute(2, 0, 1)
    tokens = x.flatten(2).permute(2, 0, 1)
    for i in range(6):
        q = f"{p}transformer.encoder.layers.{i}."
        placed = tokens + place
        tokens = norm(
            w, q + "norm1", tokens + attention(w, q + "self_attn", placed, placed, tokens)
        )
        hidden = F.relu(linear(w, q + "linear1", tokens))
        tokens = norm(w, q + "norm2", tokens + linear(w, q + "linear2", hidden))
    y = tokens.permute(1, 2, 0).reshape(1, 512, height, width)
    y = F.relu(group_norm(w, p + "layer_4", F.conv2d(y, w[p + "layer_4.weight"], padding=1)))
    levels = [y]
    for i in (3, 2, 1):
        lateral = group_norm(
            w, f"{p}adapter_{i}", F.conv2d(maps[i - 1], w[f"{p}adapter_{i}.weight"])
        )
        y = lateral + F.interpolate(y, size=lateral.shape[-2:], mode="nearest")
        y = F.conv2d(y, w[f"{p}layer_{i}.weight"], padding=1)
        y = F.relu(group_norm(w, f"{p}layer_{i}", y))
        levels.append(y)
    features = F.conv2d(y, w[p + "mask_features.weight"], w[p + "mask_features.bias"], padding=1)
    return levels[:3], features


def text(w, ids):
    """1x77 to 1x512."""
    p = DECODER + "lang_encoder.lang_encoder."
    x = F.embedding(ids.long(), w[p + "token_embedding.weight"]) + w[p + "positional_embedding"]
    x = x.permute(1, 0, 2)
    future = torch.full((77, 77), -torch.inf, dtype=x.dtype).triu(1)
    for i in range(12):
        q = f"{p}resblocks.{i}."
        y = norm(w, q + "ln_1", x, 1e-12)
        x = x + attention(w, q + "attn", y, y, y, future)
        y = linear(w, q + "mlp.c_fc", norm(w, q + "ln_2", x, 1e-12))
        x = x + linear(w, q + "mlp.c_proj", y * torch.sigmoid(1.702 * y))
    x = norm(w, p + "ln_final", x, 1e-12).permute(1, 0, 2)
    return x[torch.arange(1), ids.argmax(-1)] @ w[DECODER + "lang_encoder.lang_proj"]


def heads(w, query, features, size):
    """Of 201x1x512: captions and masks, and 8x201xN whether the next layer leaves a key out."""
    x = norm(w, DECODER + "decoder_norm", query).permute(1, 0, 2)
    unit = x / (x.norm(dim=-1, keepdim=True) + 1e-7)
    likeness = (unit[:, 100:101] @ unit[:, :100].transpose(1, 2)).softmax(-1)[:, 0, :, None]
    class_token = (likeness * x[:, :100]).sum(dim=1, keepdim=True)
    x = torch.cat((x[:, :100], class_token, x[:, 101:]), dim=1)
    embedding = x
    for i in range(3):
        embedding = linear(w, f"{DECODER}mask_embed.layers.{i}", embedding)
        embedding = F.relu(embedding) if i < 2 else embedding
    masks = torch.einsum("bqc,bchw->bqhw", embedding, features)
    small = F.interpolate(masks, size=size, mode="bilinear", align_corners=False)
    left_out = small.sigmoid().flatten(2).unsqueeze(1).repeat(1, 8, 1, 1).flatten(0, 1) < 0.5
    left_out = left_out.to(x.dtype)
    left_out[:, 101:102] = 0
    return x @ w[DECODER + "class_embed"], masks, left_out


def mask_decoder(w, levels, features, prompt):
    """The 100 scores and the 1x100xHxW mask logits of the grounding queries."""
    p = DECODER
    sizes = [level.shape[-2:] for level in levels]
    places = [sine(*size, features.dtype).flatten(2).permute(2, 0, 1) for size in sizes]
    memories = [
        (level.flatten(2) + w[p + "level_embed.weight"][i][None, :, None]).permute(2, 0, 1)
        for i, level in enumerate(levels)
    ]
    query = w[p + "query_feat.weight"].unsqueeze(1)
    place = w[p + "query_embed.weight"].unsqueeze(1)
    query, place = (torch.cat((x, x[:-1])) for x in (query, place))
    blocked = torch.ones(202, 202, dtype=torch.bool)
    blocked[:101, :101] = w[p + "self_attn_mask"][0, :101, :101]
    blocked[101:, 101:] = False

    token = prompt.unsqueeze(0)
    words = token.clone()
    captions, masks, left_out = heads(w, query, features, sizes[0])
    for i in range(9):
        level = i % 3
        left_out[torch.where(left_out.sum(-1) == left_out.shape[-1])] = 0
        q = f"{p}transformer_cross_attention_layers.{i}."
        bias = (left_out - 1) * 10000
        key = memories[level] + places[level]
        seen = attention(w, q + "multihead_attn", query + place, key, memories[level], bias)
        query = norm(w, q + "norm", query + seen)

        query, with_words = torch.cat((query, token)), torch.cat((place, words))
        q = f"{p}transformer_self_attention_layers.{i}."
        placed = query + with_words
        seen = attention(w, q + "self_attn", placed, placed, query, blocked)
        query = norm(w, q + "norm", query + seen)
        q = f"{p}transformer_ffn_layers.{i}."
        hidden = F.relu(linear(w, q + "linear1", query))
        query = norm(w, q + "norm", query + linear(w, q + "linear2", hidden))
        query, token = query[:-1], query[-1:]
        captions, masks, left_out = heads(w, query, features, sizes[(i + 1) % 3])

    captions = captions[0, 101:]
    captions = captions / (captions.norm(dim=-1, keepdim=True) + 1e-7)
    wanted = prompt / (prompt.norm(dim=-1, keepdim=True) + 1e-7)
    temperature = w[p + "lang_encoder.logit_scale"].exp().clamp(max=100)
    return (temperature * (captions @ wanted.T))[:, 0], masks[:, 101:]


def candidates(w, image, ids, resolution):
    x = (image - MEAN.to(image.dtype)) / STD.to(image.dtype)
    x = F.interpolate(x, size=(resolution, resolution), mode="bilinear", align_corners=False)
    levels, features = pixel_decoder(w, backbone(w, x))
    return mask_decoder(w, levels, features, text(w, ids))


def answer(scores, masks):
    mask = masks[:, scores.max(0)[1]][:, None]
    mask = F.interpolate(mask, size=(1024, 1024), mode="bilinear", align_corners=False)
    return (mask[0, 0] >= 0).float()

"""The decoders that may run, by FFmpeg's names. Its `codec_whitelist` has no effect through PyAV, so we look ourselves.

Few and well-trodden on purpose: FFmpeg brings 557 codecs, and the odd ones are where its memory errors live.
"""

from __future__ import annotations

VIDEO = frozenset({
    "h264", "hevc", "vp8", "vp9", "libvpx", "libvpx-vp9", "libdav1d", "av1", "libaom-av1", "mpeg1video", "mpeg2video",
    "mpeg4", "msmpeg4", "msmpeg4v2", "msmpeg4v1", "h263", "flv", "wmv1", "wmv2", "wmv3", "vc1", "theora", "prores",
    "dnxhd", "dvvideo", "mjpeg", "ffv1", "huffyuv", "v210", "rawvideo",
})  # fmt: skip
SOUND = frozenset({
    "aac", "aac_latm", "mp3", "mp3float", "mp2", "mp2float", "mp1", "mp1float", "ac3", "eac3", "dca", "opus",
    "libopus", "vorbis", "libvorbis", "flac", "alac", "wavpack", "wmav1", "wmav2", "wmapro", "amrnb", "amrwb",
    "libopencore_amrnb", "libopencore_amrwb", "adpcm_ima_wav", "adpcm_ima_qt", "adpcm_ms", "pcm_alaw", "pcm_mulaw",
    "pcm_u8", "pcm_s8", "pcm_s16le", "pcm_s16be", "pcm_s24le", "pcm_s24be", "pcm_s32le", "pcm_s32be", "pcm_f32le",
    "pcm_f32be", "pcm_f64le", "pcm_f64be", "pcm_bluray", "pcm_dvd",
})  # fmt: skip
TEXT = frozenset({"mov_text", "subrip", "srt", "webvtt", "ass", "ssa", "text"})
"""Subtitle tracks that are text; their packets are read here in Python, no decoder runs for them."""

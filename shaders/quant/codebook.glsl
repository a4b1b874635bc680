// Codebooks lie behind the tiles of a shard (loader/formats/codebooks.h).
uint codebook(uint entry) { return load_word(p.shard_tiles * p.tile_quads * 4 + entry); }
uvec4 codebook4(uvec4 entries) {
  return uvec4(codebook(entries.x), codebook(entries.y), codebook(entries.z), codebook(entries.w));
}
uvec4 entries_of(uint w) { return uvec4(w & 255, w >> 8 & 255, w >> 16 & 255, w >> 24); }

// Entries of eight values: codes of values 4i .. 4i + 3, i from 0 to 7.
uint codes(uvec4 entries, uint i) { return entries[i >> 1] >> (i & 1) * 4 & 0x0f0f0f0fu; }
// Codes 0, 1, 2 of the IQ2 types are the levels 8, 25, 43.
vec4 iq2_levels(uint codes) { return bytes(codes * 17 + (codes >> 1 & 0x01010101u) + 0x08080808u); }

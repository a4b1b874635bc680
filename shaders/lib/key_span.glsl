// First key that a query at a position sees (shared/layer.h).
uint first_visible_key(KeySpan span, uint at) {
  uint first = span.window != 0 && at >= span.window ? at + 1 - span.window : 0;
  return span.chunk != 0 ? max(first, at - at % span.chunk) : first;
}

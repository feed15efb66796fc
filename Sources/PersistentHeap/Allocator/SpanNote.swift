/// What is known of a span of small blocks while the heap is open; kept for its first unit. Guarded by the central lock.
struct SpanNote {
    /// Blocks that are neither allocated nor in a cache.
    var free: UInt16
    /// No block before this one is free.
    var scan: UInt16
    /// Where the span stands in its class's list of spans with free blocks, plus one; 0 where it does not.
    var position: UInt32
}

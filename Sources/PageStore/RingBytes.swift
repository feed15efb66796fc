internal import VMTypes

/// The journal's bytes that a batch covers: those that are still in memory, and the others, read at once.
struct RingBytes {
    private struct Span {
        var position: UInt64
        var count: Int
        var base: UnsafeMutableRawPointer
    }

    /// What the spans' addresses lie in.
    private var buffers: [AlignedBuffer] = []
    private var spans: [Span] = []
    /// For a page.
    let scratch = AlignedBuffer(capacity: Page.size)

    init(_ journal: Journal, _ batch: [YoungRecord]) throws(StoreError) {
        let unread = batch.reduce(0) { $0 + ($1.bytes == nil ? Int($1.header.length) : 0) }
        let buffer = AlignedBuffer(capacity: unread)
        buffers = [buffer] + batch.compactMap(\.bytes?.buffer)
        var free = buffer.base
        var isReadable = false
        var reads: [Int] = []
        for record in batch {
            let count = Int(record.header.length)
            if let bytes = record.bytes {
                spans.append(Span(position: record.header.position, count: count, base: bytes.buffer.base + bytes.start))
                isReadable = false
                continue
            }
            if isReadable, let last = spans.last, last.position + UInt64(last.count) == record.header.position,
                record.header.position % UInt64(journal.ringBytes) != 0
            {
                spans[spans.count - 1].count += count
            } else {
                reads.append(spans.count)
                spans.append(Span(position: record.header.position, count: count, base: free))
                isReadable = true
            }
            free += count
        }
        for span in reads.map({ spans[$0] }) {
            try journal.read(into: UnsafeMutableRawBufferPointer(start: span.base, count: span.count), at: span.position)
        }
    }

    /// The lines of a patch, or a whole page, that are not in a record's memory any more.
    func lines(_ missing: YoungPages.Gathered.Missing) throws(StoreError) -> UnsafeRawPointer {
        var low = 0
        var high = spans.count
        while low + 1 < high {
            let middle = (low + high) / 2
            if spans[middle].position <= missing.position { low = middle } else { high = middle }
        }
        let end = missing.position + UInt64(missing.mask.nonzeroBitCount * LineMask.lineSize)
        guard low < spans.count, spans[low].position <= missing.position, end <= spans[low].position + UInt64(spans[low].count) else {
            throw StoreError(.damaged, "a young page lies outside the journal")
        }
        return UnsafeRawPointer(spans[low].base) + Int(missing.position - spans[low].position)
    }
}

internal import VMTypes

/// Reads the beginnings of the records of a chain, and with some of them those that probably follow: a read past the page cache
/// takes ten times as long as going through what it reads, and several at once take hardly longer than one.
///
/// What follows is looked for where it lies if the records go on being as long as the last one, or shorter by a few pages.
/// A range that was guessed wrong, or cannot be read, costs a read. Used by one thread; others read for it.
final class JournalReadAhead {
    private let journal: Journal
    /// What was read and not asked for yet, in order.
    private var windows: [Window] = []
    private var batch = smallestBatch / 2

    private static let smallestBatch = 4
    private static let largestBatch = 32
    /// Records shorter than this lie so close together that all of them are read.
    private static let closeRecord: UInt64 = 64 << 10
    private static let windowBytes: UInt64 = 16 << 10
    private static let lanes = 4

    private struct Window: Sendable {
        let start: UInt64
        let bytes: AlignedBuffer
        let count: Int
    }

    init(_ journal: Journal) { self.journal = journal }

    /// Reads from a logical position, as `Journal.read`.
    func read(into bytes: UnsafeMutableRawBufferPointer, at position: UInt64) throws(StoreError) {
        let end = position + UInt64(bytes.count)
        guard let window = windows.first(where: { $0.start <= position && end <= $0.start + UInt64($0.count) }) else {
            return try journal.read(into: bytes, at: position)
        }
        let offset = Int(position - window.start)
        bytes.copyMemory(from: UnsafeRawBufferPointer(window.bytes[offset..<offset + bytes.count]))
    }

    /// Reads what follows a record of `length` bytes that ends at `head`, unless that was read; nothing at or after `limit`.
    func prepare(after length: UInt64, head: UInt64, limit: UInt64) {
        let next = journal.position(forRecordOf: Int(length), head: head)
        windows.removeAll { $0.start + UInt64($0.count) <= head }
        guard !windows.contains(where: { $0.start <= next && next + Self.windowBytes <= $0.start + UInt64($0.count) }) else { return }
        // Where windows are left the guess was wrong: another length has come.
        batch = windows.isEmpty ? min(batch * 2, Self.largestBatch) : Self.smallestBatch
        windows = Self.read(ranges(from: next, recordsOf: length, limit), of: journal)
    }

    /// What to read: within one lap each.
    private func ranges(from next: UInt64, recordsOf length: UInt64, _ limit: UInt64) -> [Range<UInt64>] {
        if length < Self.closeRecord {
            let end = min(next + UInt64(batch) * Self.closeRecord, journal.nextLap(next), limit)
            return end > next ? [next..<end] : []
        }
        var ranges: [Range<UInt64>] = []
        var position = next
        while ranges.count < batch, position + Self.windowBytes <= limit {
            let lap = journal.nextLap(position) - UInt64(journal.ringBytes)
            let start = max(position - min(position, Self.windowBytes), lap)
            ranges.append(start..<min(position + Self.windowBytes, journal.nextLap(position)))
            position = journal.position(forRecordOf: Int(length), head: position + length)
        }
        return ranges
    }

    private static func read(_ ranges: [Range<UInt64>], of journal: Journal) -> [Window] {
        let count = min(lanes, ranges.count)
        let others = (1..<max(count, 1)).map { lane in
            SideTask { read(lane, of: count, ranges, journal) }
        }
        var windows = count > 0 ? read(0, of: count, ranges, journal) : []
        for other in others { windows += other.wait() }
        return windows.sorted { $0.start < $1.start }
    }

    /// Each `count`th of the ranges, from `lane` on, as far as they can be read.
    private static func read(_ lane: Int, of count: Int, _ ranges: [Range<UInt64>], _ journal: Journal) -> [Window] {
        var windows: [Window] = []
        for index in stride(from: lane, to: ranges.count, by: count) {
            let window = Window(
                start: ranges[index].lowerBound, bytes: AlignedBuffer(capacity: ranges[index].count), count: ranges[index].count)
            do throws(StoreError) {
                try journal.read(into: window.bytes[0..<window.count], at: window.start)
            } catch { continue }
            windows.append(window)
        }
        return windows
    }
}

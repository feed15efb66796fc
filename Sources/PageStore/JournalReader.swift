internal import Glibc
internal import VMTypes

/// Reads the ring through the page cache, for a scan: what it will want next is fetched while it looks at what it has.
///
/// Nobody writes the journal meanwhile. What the cache held of the ring is given up first: records are written past it.
final class JournalReader {
    let journal: Journal
    private let file: File
    /// The logical position up to which the ring has been asked for, and the step in which it was.
    private var fetched: UInt64 = 0
    private var step: UInt64 = 0

    /// What a scan reads of a record at first: the prologue of all but large ones.
    static let firstBytes = 4 * Page.size
    /// Records, or bytes where records are short, that are asked for at a time.
    private static let recordsAhead: UInt64 = 16
    private static let bytesAhead: UInt64 = 1 << 20

    init(_ journal: Journal) throws(StoreError) {
        self.journal = journal
        file = try File(journal.file.path, O_RDONLY)
        file.adviseRandomAccess()
        file.dropCache(from: Journal.superblockSize)
    }

    /// Reads from a logical position; `bytes` does not pass the ring's end.
    func read(into bytes: UnsafeMutableRawBufferPointer, at position: UInt64) throws(StoreError) {
        try file.read(into: bytes, at: journal.offset(position))
    }

    /// Asks for `count` bytes from a logical position, as far as they lie before the ring's end, and does not wait.
    func fetch(_ count: Int, at position: UInt64) {
        let rest = journal.ringBytes - Int(position % UInt64(journal.ringBytes))
        file.fetch(min(count, rest), at: journal.offset(position))
    }

    /// Asks for the records at `position` and behind it, if all are as long as the one before it, and does not wait.
    func fetchRecords(at position: UInt64, length: UInt64) {
        guard length > 0, length <= UInt64(journal.maximumRecord) else { return }
        if step == length, position < fetched { return }
        step = length
        if length <= 2 * UInt64(Self.firstBytes) {
            fetch(Int(Self.bytesAhead), at: position)
            fetched = position + Self.bytesAhead - min(Self.bytesAhead, length)
        } else {
            for record in 0..<Self.recordsAhead { fetch(Self.firstBytes, at: position + record * length) }
            fetched = position + Self.recordsAhead * length
        }
    }
}

internal import Synchronization

/// The named roots of a heap: a block of records in the heap itself, and an index of it in memory.
///
/// Thread-safe.
final class RootDirectory: Sendable {
    /// A root as the heap records it. Part of the format.
    struct Record: BitwiseCopyable {
        /// The block of the name's bytes.
        var name: Int
        var nameBytes: UInt32
        /// The version that the program gave the root's type.
        var version: UInt32
        /// The block of the bytes of the layout's text.
        var layout: Int
        var layoutBytes: UInt32
        var kind: UInt32
        /// The value's block, or the collection's handle.
        var value: Int
    }

    static let valueKind: UInt32 = 1
    static let containerKind: UInt32 = 2

    private let space: HeapSpace
    /// Numbers by name, and the restoration of the heap's bytes that they were read after.
    private let index = Mutex<(numbers: [String: Int], restorations: Int)?>(nil)

    init(_ space: HeapSpace) { self.space = space }

    var count: Int { space.header(HeapFormat.rootCountOffset) }

    func record(_ number: Int) -> Record { space.load(place(number)) }

    func setRecord(_ number: Int, _ record: Record) { space.store(record, at: place(number)) }

    private func place(_ number: Int) -> Int {
        space.header(HeapFormat.directoryOffset) + number * MemoryLayout<Record>.stride
    }

    func text(_ offset: Int, _ byteCount: UInt32) -> String {
        String(decoding: space.bytes(offset, Int(byteCount)), as: UTF8.self)
    }

    func names() -> [String] {
        (0..<count).map { number in
            let record = record(number)
            return text(record.name, record.nameBytes)
        }
    }

    /// The number of the root of that name.
    func find(_ name: String) -> Int? {
        index.withLock { index in
            if let index, index.restorations == space.restorations { return index.numbers[name] }
            var made: [String: Int] = [:]
            for (number, name) in names().enumerated() { made[name] = number }
            index = (made, space.restorations)
            return made[name]
        }
    }

    /// Adds a root. Where it throws, nothing has changed.
    func add(_ name: String, layout: String, version: Int, kind: UInt32, value: Int) throws(HeapError) {
        space.beginChange()
        defer { space.endChange() }
        let number = count
        let old = space.header(HeapFormat.directoryOffset)
        let capacity = old == 0 ? 0 : try space.usableSize(old) / MemoryLayout<Record>.stride
        let nameBlock = try put(name)
        do throws(HeapError) {
            let layoutBlock = try put(layout)
            do throws(HeapError) {
                if number == capacity {
                    let bytes = max(4, number * 2) * MemoryLayout<Record>.stride
                    let new = old == 0 ? try space.allocate(byteCount: bytes) : try space.reallocate(old, byteCount: bytes)
                    space.setHeader(HeapFormat.directoryOffset, new)
                }
            } catch {
                try? space.free(layoutBlock)
                throw error
            }
            setRecord(
                number,
                Record(
                    name: nameBlock, nameBytes: UInt32(name.utf8.count), version: UInt32(version), layout: layoutBlock,
                    layoutBytes: UInt32(layout.utf8.count), kind: kind, value: value))
        } catch {
            try? space.free(nameBlock)
            throw error
        }
        space.setHeader(HeapFormat.rootCountOffset, number + 1)
        index.withLock { $0?.numbers[name] = number }
    }

    /// Takes a root away, and the blocks of its name and layout; its value is the caller's.
    func remove(_ number: Int) throws(HeapError) {
        let gone = record(number)
        let last = count - 1
        setRecord(number, record(last))
        space.setHeader(HeapFormat.rootCountOffset, last)
        index.withLock { $0 = nil }
        try space.free(gone.name)
        try space.free(gone.layout)
    }

    /// Puts a text into a block of its own.
    func put(_ text: String) throws(HeapError) -> Int {
        let bytes = Array(text.utf8)
        let block = try space.allocate(byteCount: bytes.count)
        if !bytes.isEmpty { space.mutableBytes(block, bytes.count).copyBytes(from: bytes) }
        return block
    }
}

internal import Synchronization

/// The named roots of a heap: a block of records in the heap itself, and an index of it in memory.
///
/// Thread-safe: whoever looks a root up or changes the directory is within a change of the heap, and alone in here.
final class RootDirectory: @unchecked Sendable {
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

    /// A root, and what its blocks say.
    struct Root {
        let name: String
        let record: Record
        let layout: String
    }

    static let valueKind: UInt32 = 1
    static let containerKind: UInt32 = 2

    private let space: HeapSpace
    private let lock = Mutex(())
    /// Numbers by name, and the restoration of the heap's bytes that they were read after. Guarded by `lock`.
    private var index: (numbers: [String: Int], restorations: Int)?

    init(_ space: HeapSpace) { self.space = space }

    // MARK: What the bytes say

    /// How many roots the heap says it has; anything, in a damaged one.
    var count: Int { space.header(HeapFormat.rootCountOffset) }

    func record(_ number: Int) -> Record { space.load(place(number)) }

    func text(_ offset: Int, _ byteCount: UInt32) -> String {
        String(decoding: space.bytes(offset, Int(byteCount)), as: UTF8.self)
    }

    private func place(_ number: Int) -> Int {
        space.header(HeapFormat.directoryOffset) + number * MemoryLayout<Record>.stride
    }

    /// The roots, in the order in which they were made. Throws `.damaged` where they are not where the heap says.
    private func read() throws(HeapError) -> [Root] {
        let count = count
        if count == 0 { return [] }
        let block = space.knownBlock(at: space.header(HeapFormat.directoryOffset))
        guard count > 0, let block, count <= block / MemoryLayout<Record>.stride else {
            throw HeapError(.damaged, "the heap's \(count) roots are in no block that is long enough", advice: "Run `varve heap check`")
        }
        var found: [Root] = []
        for number in 0..<count {
            let record = record(number)
            func text(_ block: Int, _ byteCount: UInt32) -> String? {
                guard let bytes = space.knownBlock(at: block), Int(byteCount) <= bytes else { return nil }
                return self.text(block, byteCount)
            }
            guard let name = text(record.name, record.nameBytes), let layout = text(record.layout, record.layoutBytes),
                space.knownBlock(at: record.value) != nil || record.kind == Self.containerKind && record.value == 0
            else {
                throw HeapError(.damaged, "root \(number) of the heap is not where the heap says", advice: "Run `varve heap check`")
            }
            found.append(Root(name: name, record: record, layout: layout))
        }
        return found
    }

    // MARK: One at a time

    /// Runs `body` within a change of the heap, while no other thread is here.
    private func alone<Result>(_ body: () throws(HeapError) -> Result) throws(HeapError) -> Result {
        try space.requireOpen()
        space.beginChange()
        defer { space.endChange() }
        // It may have been closed while this thread waited.
        try space.requireOpen()
        lock._unsafeLock()
        defer { lock._unsafeUnlock() }
        return try body()
    }

    /// The number of the root of that name; under the lock.
    private func number(_ name: String) throws(HeapError) -> Int? {
        if let index, index.restorations == space.restorations { return index.numbers[name] }
        var made: [String: Int] = [:]
        for (number, root) in try read().enumerated() { made[root.name] = number }
        index = (made, space.restorations)
        return made[name]
    }

    private func root(_ name: String, _ number: Int) -> Root {
        let record = record(number)
        return Root(name: name, record: record, layout: text(record.layout, record.layoutBytes))
    }

    /// All roots, in the order in which they were made. Throws `.damaged`, `.wrongState`.
    func all() throws(HeapError) -> [Root] { try alone { () throws(HeapError) in try read() } }

    /// The root of that name. Throws `.damaged`, `.wrongState`.
    func find(_ name: String) throws(HeapError) -> Root? {
        try alone { () throws(HeapError) in try number(name).map { root(name, $0) } }
    }

    /// The root of that name; where there is none, a new one of the value that `make` puts into the heap.
    ///
    /// Where it throws, nothing has changed: `unmake` has taken the value back. Neither of them looks at roots.
    func find(
        _ name: String, orAdd layout: String, version: Int, kind: UInt32, make: () throws(HeapError) -> Int, unmake: (Int) -> Void
    ) throws(HeapError) -> (root: Root, isNew: Bool) {
        try alone { () throws(HeapError) in
            if let number = try number(name) { return (root(name, number), false) }
            let value = try make()
            do throws(HeapError) {
                let record = try add(name, layout, version, kind, value)
                return (Root(name: name, record: record, layout: layout), true)
            } catch {
                unmake(value)
                throw error
            }
        }
    }

    private func add(_ name: String, _ layout: String, _ version: Int, _ kind: UInt32, _ value: Int) throws(HeapError) -> Record {
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
            let record = Record(
                name: nameBlock, nameBytes: UInt32(name.utf8.count), version: UInt32(version), layout: layoutBlock,
                layoutBytes: UInt32(layout.utf8.count), kind: kind, value: value)
            space.store(record, at: place(number))
            space.setHeader(HeapFormat.rootCountOffset, number + 1)
            index?.numbers[name] = number
            return record
        } catch {
            try? space.free(nameBlock)
            throw error
        }
    }

    /// Takes the root of that name away, once `check` let it; its value is the caller's. Throws `.noRoot`, and what `check` does.
    func remove(_ name: String, check: (Root) throws(HeapError) -> Void) throws(HeapError) -> Record {
        try alone { () throws(HeapError) in
            guard let number = try number(name) else {
                throw HeapError(.noRoot, "no root is named '\(name)'", advice: "`rootNames` lists them")
            }
            try check(root(name, number))
            let gone = record(number)
            let last = count - 1
            let moved = record(last)
            index?.numbers[text(moved.name, moved.nameBytes)] = number
            index?.numbers[name] = nil
            space.store(moved, at: place(number))
            space.setHeader(HeapFormat.rootCountOffset, last)
            try space.free(gone.name)
            try space.free(gone.layout)
            return gone
        }
    }

    /// Makes a root one of another type: its value is the caller's. Throws `.noRoot`; `.full`: nothing has changed.
    func replace(_ name: String, layout: String, version: Int, kind: UInt32, value: Int) throws(HeapError) {
        try alone { () throws(HeapError) in
            guard let number = try number(name) else {
                throw HeapError(.noRoot, "the root '\(name)' was removed while it was upgraded")
            }
            var record = record(number)
            let old = record.layout
            record.layout = try put(layout)
            record.layoutBytes = UInt32(layout.utf8.count)
            record.version = UInt32(version)
            record.kind = kind
            record.value = value
            space.store(record, at: place(number))
            try space.free(old)
        }
    }

    /// Puts a text into a block of its own.
    private func put(_ text: String) throws(HeapError) -> Int {
        let bytes = Array(text.utf8)
        let block = try space.allocate(byteCount: bytes.count)
        if !bytes.isEmpty { space.mutableBytes(block, bytes.count).copyBytes(from: bytes) }
        return block
    }
}

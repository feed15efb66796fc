/// What a disk may hold of a traced process' files: what is durable, and what was done since and may be there or not.
///
/// The fault model: a sync of a file makes its bytes and size durable that were written before it began; until then each
/// 4 KiB block of a file may be on the disk as any of the writes since left it, whatever became of others; a size may be
/// there before the bytes. Names become durable with their folder's sync; until then those that were changed first may be
/// there without the later ones. A block that is being written may be torn between its sectors of 512 bytes.
struct SimulatedDisk {
    static let blockSize = 4096

    /// The bytes of one block; shared where nothing differs.
    final class Block: Sendable {
        let bytes: [UInt8]
        let hash: UInt64

        init(_ bytes: [UInt8]) {
            self.bytes = bytes
            hash = Self.sum(bytes)
        }

        static let zeros = Block([UInt8](repeating: 0, count: SimulatedDisk.blockSize))

        /// FNV-1a over words: the images are our own, not an adversary's.
        private static func sum(_ bytes: [UInt8]) -> UInt64 {
            bytes.withUnsafeBytes { raw in
                var hash: UInt64 = 0xcbf2_9ce4_8422_2325
                for offset in stride(from: 0, to: raw.count, by: 8) {
                    hash = (hash ^ raw.load(fromByteOffset: offset, as: UInt64.self)) &* 0x0000_0100_0000_01b3
                    hash ^= hash >> 29
                }
                return hash
            }
        }
    }

    /// A write of one block, or of a size, that a crash may lose.
    struct Pending {
        /// nil: the size.
        var block: Int?
        var content = Block.zeros
        var size = 0
        /// In the order of the trace.
        var order: Int
    }

    struct File {
        var durable: [Int: Block] = [:]
        var durableSize = 0
        var current: [Int: Block] = [:]
        var currentSize = 0
        var pending: [Pending] = []
    }

    enum NameChange {
        case add(path: String, file: UInt64)
        case addFolder(path: String)
        case rename(from: String, to: String)
        case remove(path: String)

        /// The folders that it changes.
        var folders: [String] {
            func parent(_ path: String) -> String { path.lastIndex(of: "/").map { String(path[..<$0]) } ?? "" }
            switch self {
            case .add(let path, _), .addFolder(let path), .remove(let path): return [parent(path)]
            case .rename(let from, let to): return [parent(from), parent(to)]
            }
        }
    }

    /// Names of files, and folders (nil).
    struct Names {
        var entries: [String: UInt64?] = [:]

        mutating func apply(_ change: NameChange) {
            switch change {
            case .add(let path, let file): entries[path] = .some(file)
            case .addFolder(let path): entries[path] = .some(nil)
            case .remove(let path): entries[path] = nil
            case .rename(let from, let to):
                for path in entries.keys where path == from || path.hasPrefix(from + "/") {
                    let entry = entries.removeValue(forKey: path)!
                    entries[to + path.dropFirst(from.count)] = entry
                }
            }
        }
    }

    private(set) var files: [UInt64: File] = [:]
    private(set) var durableNames = Names()
    private(set) var pendingNames: [NameChange] = []
    private var folderPaths: [UInt64: String] = [:]
    private var nameOrders: [Int] = []
    /// When each sync that is under way began: it covers what is older.
    private var syncs: [UInt64: Int] = [:]
    private var order = 0
    private var baseNumbers: [String: UInt64] = [:]

    /// A disk that holds a copy of `folder`, durable.
    init(of folder: String) throws(LabError) {
        var next: UInt64 = 1 << 40
        var folders = [""]
        while let path = folders.popLast() {
            for name in try LabFile.names(in: folder + "/" + path) {
                let below = path.isEmpty ? name : path + "/" + name
                if LabFile.isFolder(folder + "/" + below) {
                    durableNames.apply(.addFolder(path: below))
                    folders.append(below)
                } else {
                    let bytes = try LabFile.read(folder + "/" + below)
                    var file = File()
                    for start in stride(from: 0, to: bytes.count, by: Self.blockSize) {
                        var block = Array(bytes[start..<min(start + Self.blockSize, bytes.count)])
                        guard block.contains(where: { $0 != 0 }) else { continue }
                        block.append(contentsOf: [UInt8](repeating: 0, count: Self.blockSize - block.count))
                        file.durable[start / Self.blockSize] = Block(block)
                    }
                    file.durableSize = bytes.count
                    file.current = file.durable
                    file.currentSize = file.durableSize
                    files[next] = file
                    durableNames.apply(.add(path: below, file: next))
                    baseNumbers[below] = next
                    next += 1
                }
            }
        }
    }

    var hasPending: Bool { !pendingNames.isEmpty || files.values.contains { !$0.pending.isEmpty } }

    /// What happens to the disk at an event, which is none that acknowledges.
    mutating func apply(_ event: Trace.Event) {
        order += 1
        switch event {
        case .open(let file, let path, let isNew, let isFolder):
            if isFolder {
                folderPaths[file] = path
            } else if !isNew, let base = baseNumbers[path] {
                // The file was there before the trace began; it is known by the trace's number from here on.
                files[file] = files.removeValue(forKey: base)
                durableNames.entries[path] = .some(file)
                baseNumbers[path] = nil
            } else if isNew {
                files[file] = File()
                change(.add(path: path, file: file))
            }
        case .write(let file, let offset, let bytes, let isSynchronous):
            write(file, offset, bytes)
            if isSynchronous { settle(file, through: order) }
        case .syncBegin(_, let number): syncs[number] = order
        case .syncEnd(let file, let number):
            guard let begun = syncs.removeValue(forKey: number) else { return }
            if let folder = folderPaths[file] { settleNames(folder, through: begun) } else { settle(file, through: begun) }
        case .resize(let file, let size): resize(file, size)
        case .extend(let file, let size): if size > files[file]?.currentSize ?? 0 { resize(file, size) }
        case .rename(let from, let to): change(.rename(from: from, to: to))
        case .remove(let path): change(.remove(path: path))
        case .makeFolder(let path): change(.addFolder(path: path))
        case .acknowledge: break
        }
    }

    private mutating func write(_ number: UInt64, _ offset: Int, _ bytes: [UInt8]) {
        guard var file = files.removeValue(forKey: number) else { return }
        defer { files[number] = file }
        let end = offset + bytes.count
        if end > file.currentSize {
            file.currentSize = end
            file.pending.append(Pending(block: nil, size: end, order: order))
        }
        var at = offset
        while at < end {
            let block = at / Self.blockSize
            let stop = min(end, (block + 1) * Self.blockSize)
            var content = (file.current[block] ?? .zeros).bytes
            content.replaceSubrange(at % Self.blockSize..<at % Self.blockSize + stop - at, with: bytes[at - offset..<stop - offset])
            let written = Block(content)
            file.current[block] = written
            file.pending.append(Pending(block: block, content: written, order: order))
            at = stop
        }
    }

    private mutating func resize(_ number: UInt64, _ size: Int) {
        guard var file = files.removeValue(forKey: number) else { return }
        defer { files[number] = file }
        if size < file.currentSize {
            for block in file.current.keys where block * Self.blockSize >= size { file.current[block] = nil }
        }
        file.currentSize = size
        file.pending.append(Pending(block: nil, size: size, order: order))
    }

    private mutating func change(_ names: NameChange) {
        pendingNames.append(names)
        nameOrders.append(order)
    }

    /// Makes durable what was done to a file up to a moment.
    private mutating func settle(_ number: UInt64, through moment: Int) {
        guard var file = files.removeValue(forKey: number) else { return }
        defer { files[number] = file }
        let count = file.pending.firstIndex { $0.order > moment } ?? file.pending.count
        for pending in file.pending[..<count] { Self.apply(pending, &file.durable, &file.durableSize) }
        file.pending.removeFirst(count)
    }

    static func apply(_ pending: Pending, _ blocks: inout [Int: Block], _ size: inout Int) {
        if let block = pending.block {
            blocks[block] = pending.content
        } else {
            if pending.size < size { for block in blocks.keys where block * blockSize >= pending.size { blocks[block] = nil } }
            size = pending.size
        }
    }

    /// Makes name changes durable up to the last that changed `folder` by a moment: a file system logs them in order.
    private mutating func settleNames(_ folder: String, through moment: Int) {
        let covered = nameOrders.firstIndex { $0 > moment } ?? nameOrders.count
        guard let last = pendingNames[..<covered].lastIndex(where: { $0.folders.contains(folder) }) else { return }
        for change in pendingNames[...last] { durableNames.apply(change) }
        pendingNames.removeFirst(last + 1)
        nameOrders.removeFirst(last + 1)
    }
}

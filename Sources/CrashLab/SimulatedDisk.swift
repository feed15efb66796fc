/// What a disk may hold of a traced process' files: what is durable, and what was done since and may be there or not.
///
/// The fault model: a sync of a file makes its bytes and size durable that were written before it began, a synchronous write
/// its own blocks; until then each 4 KiB block of a file may be on the disk as any of the writes since left it, whatever became
/// of others, and a size may be there before the bytes. Names become durable with their folder's sync; until then those that
/// were changed first may be there without the later ones. A block that is being written may be torn between its sectors. What was
/// pending when a sync failed may be there or not, until its blocks are written again.
struct SimulatedDisk {
    /// A write of one block, or of a size, that a crash may lose.
    struct Pending {
        enum Change {
            case block(Int, Block)
            case size(Int)
        }

        var change: Change
        /// In the order of the trace.
        var order: Int
        /// A sync of it failed: the kernel takes it for clean, and no later one makes it durable.
        var isAbandoned = false

        /// Which block; nil: the size.
        var block: Int? { if case .block(let index, _) = change { index } else { nil } }

        func apply(to content: inout FileContent) {
            switch change {
            case .block(let index, let block): content[index] = block
            case .size(let size): content.resize(to: size)
            }
        }
    }

    struct File {
        var durable = FileContent()
        var current = FileContent()
        /// In the order in which they came.
        var pending: [Pending] = []
    }

    private struct PendingName {
        var change: NameChange
        /// The folders that it changed, as they are called now.
        var folders: [String]
        var order: Int
    }

    private(set) var files: [UInt64: File] = [:]
    private(set) var durableNames = FileNames()
    private var names = FileNames()
    private var pending: [PendingName] = []
    /// What the trace's numbers mean here.
    private var numbers: [UInt64: UInt64] = [:]
    private var nextNumber: UInt64 = 1
    private var folderPaths: [UInt64: String] = [:]
    /// When each sync that is under way began: it covers what is older.
    private var syncs: [UInt64: Int] = [:]
    private var order = 0

    init() {}

    /// A disk that holds an image, durable. Its files are known to no trace yet.
    init(_ image: CrashImage) {
        files = image.files.mapValues { File(durable: $0, current: $0) }
        durableNames = image.names
        names = image.names
        nextNumber = (files.keys.max() ?? 0) + 1
    }

    /// The same disk, as the next process finds it: what is pending stays so, and no descriptor is open any more.
    var afterKill: SimulatedDisk {
        var disk = self
        disk.numbers = [:]
        disk.folderPaths = [:]
        disk.syncs = [:]
        return disk
    }

    /// What a process sees: everything that was done.
    var current: CrashImage {
        var image = CrashImage(durable: self)
        image.files = files.mapValues(\.current)
        image.names = names
        image.description = "the process killed"
        return image
    }

    var pendingNames: [NameChange] { pending.map(\.change) }

    /// What happens to the disk at an event, which is none that acknowledges.
    mutating func apply(_ event: Trace.Event) throws(LabError) {
        order += 1
        switch event {
        case .open(let file, let path, let isNew, let isFolder):
            if isFolder {
                folderPaths[file] = path
            } else if isNew {
                numbers[file] = nextNumber
                files[nextNumber] = File()
                change(.add(path: path, file: nextNumber))
                nextNumber += 1
            } else {
                guard let number = names.file(at: path) else { throw LabError("the trace opens \(path), which is not there") }
                numbers[file] = number
            }
        case .write(let file, let offset, let bytes, _): write(file, offset, bytes)
        case .syncBegin(_, let number): syncs[number] = order
        case .syncEnd(let file, let number):
            guard let begun = syncs.removeValue(forKey: number) else { return }
            if let folder = folderPaths[file] {
                settleNames(folder, through: begun)
            } else {
                settle(file) { $0.order <= begun }
            }
        case .syncFailed(let file):
            withFile(file) { file in for index in file.pending.indices where file.pending[index].block != nil { file.pending[index].isAbandoned = true } }
        case .resize(let file, let size): resize(file, size)
        case .extend(let file, let size):
            if let number = numbers[file], size > files[number]?.current.size ?? 0 { resize(file, size) }
        case .rename(let from, let to):
            change(.rename(from: from, to: to))
            for (file, path) in folderPaths { folderPaths[file] = FileNames.renamed(path, from, to) ?? path }
            for index in pending.indices { pending[index].folders = pending[index].folders.map { FileNames.renamed($0, from, to) ?? $0 } }
        case .remove(let path): change(.remove(path: path))
        case .makeFolder(let path): change(.addFolder(path: path))
        case .acknowledge: break
        }
    }

    /// Makes a synchronous write durable, which has been applied: its own blocks, and the size.
    mutating func finish(synchronousWriteOf count: Int, at offset: Int, to file: UInt64) {
        let blocks = offset / Block.size...(offset + max(count, 1) - 1) / Block.size
        settle(file) { $0.block.map(blocks.contains) ?? true }
    }

    private mutating func withFile(_ file: UInt64, _ body: (inout File) -> Void) {
        guard let number = numbers[file], var content = files.removeValue(forKey: number) else { return }
        body(&content)
        files[number] = content
    }

    private mutating func write(_ file: UInt64, _ offset: Int, _ bytes: [UInt8]) {
        let order = order
        withFile(file) { file in
            let end = offset + bytes.count
            if end > file.current.size {
                file.current.resize(to: end)
                file.pending.append(Pending(change: .size(end), order: order))
            }
            var at = offset
            while at < end {
                let block = at / Block.size
                let stop = min(end, (block + 1) * Block.size)
                let written = file.current[block].replacing(from: at % Block.size, with: bytes[at - offset..<stop - offset])
                file.current[block] = written
                file.pending.append(Pending(change: .block(block, written), order: order))
                at = stop
            }
        }
    }

    private mutating func resize(_ file: UInt64, _ size: Int) {
        let order = order
        withFile(file) { file in
            file.current.resize(to: size)
            file.pending.append(Pending(change: .size(size), order: order))
        }
    }

    private mutating func change(_ change: NameChange) {
        names.apply(change)
        pending.append(PendingName(change: change, folders: change.folders, order: order))
    }

    /// Makes durable what was done to a file, as far as `isCovered` says so.
    private mutating func settle(_ file: UInt64, where isCovered: (Pending) -> Bool) {
        withFile(file) { file in
            var written: [Int: Int] = [:]
            for pending in file.pending where isCovered(pending) && !pending.isAbandoned {
                pending.apply(to: &file.durable)
                if let block = pending.block { written[block] = pending.order }
            }
            var left: [Pending] = []
            for pending in file.pending {
                guard pending.isAbandoned else {
                    if !isCovered(pending) { left.append(pending) }
                    continue
                }
                // What was abandoned is gone where its block was written later.
                if let block = pending.block, let order = written[block], order > pending.order { continue }
                left.append(pending)
            }
            file.pending = left
        }
    }

    /// Makes name changes durable up to the last that changed `folder` by a moment: a file system logs them in order.
    private mutating func settleNames(_ folder: String, through moment: Int) {
        guard let last = pending.lastIndex(where: { $0.order <= moment && $0.folders.contains(folder) }) else { return }
        for name in pending[...last] { durableNames.apply(name.change) }
        pending.removeFirst(last + 1)
    }
}

internal import CrashLab
internal import Glibc
internal import Varve

/// Performs what a seed stands for, and says after each step what it was promised: `LAST DURABLE`, the last version that there
/// is, and the last that a power cut may not take.
final class CrashlabWork {
    private let folder: String
    private let console: Console
    private var random: SplitMix
    private var model = CrashlabModel()
    private var open: CrashlabStore
    private var last: Version
    private var durable: Version

    init(folder: String, seed: UInt64, console: Console) throws {
        self.folder = folder
        self.console = console
        random = SplitMix(state: seed)
        try CrashlabStore.create(in: folder)
        open = try CrashlabStore(in: folder)
        last = try open.store.version(of: .head)
        durable = last
    }

    func run() throws {
        try acknowledge()
        for _ in 0..<CrashlabModel.stepCount {
            let step = model.next(&random)
            try perform(step)
            model.apply(step)
            try acknowledge()
        }
        try open.close()
    }

    /// What a process does that comes after a crash: some commits, each told as `more LAST DURABLE`; then it closes the store or,
    /// as often, does not.
    static func goOn(_ open: CrashlabStore, _ console: Console) throws {
        let first = try open.store.version(of: .head)
        var durable = first
        for number in 1...CrashlabModel.extraCount {
            let seed = CrashlabModel.extraSeed(number, after: first)
            CrashlabPage.fill(try open.place(0, page: CrashlabModel.extraPage(number)), seed)
            open.words[CrashlabModel.extraKey(number)] = Int(seed)
            let isDeferred = number % 2 == 0
            let last = try open.heap.commit(durability: isDeferred ? .deferred : .synced)
            if !isDeferred { durable = last }
            try console.print("more \(last) \(durable)")
        }
        if first.rawValue % 2 == 0 { try open.close() }
    }

    private func acknowledge() throws { try console.print("\(last) \(durable)") }

    /// After a call whose commit, where it made one, is on the disk.
    private func synced() throws {
        last = try open.store.version(of: .head)
        durable = last
    }

    private func committed(_ version: Version, isDeferred: Bool) {
        last = version
        if !isDeferred { durable = version }
    }

    private func commit(isDeferred: Bool = false) throws {
        committed(try open.store.commit(durability: isDeferred ? .deferred : .synced), isDeferred: isDeferred)
    }

    private func perform(_ step: CrashlabModel.Step) throws {
        let store = open.store, task = open.task
        func bytes(_ pages: Int) -> UInt64 { UInt64(pages * CrashlabPage.size) }
        switch step {
        case .store(let writes, let isDeferred):
            for (slot, page, seed) in writes { CrashlabPage.fill(try open.place(slot, page: page), seed) }
            try commit(isDeferred: isDeferred)
        case .change(let changes, let inTransaction, let isDeferred):
            let words = open.words
            let durability: PersistentHeap.Durability = isDeferred ? .deferred : .synced
            if inTransaction {
                try open.heap.transaction(durability: durability) { for (key, value) in changes { words[key] = value } }
                // The last commit, flushed or not, is what a commit of nothing answers.
                committed(try store.commit(durability: .deferred), isDeferred: isDeferred)
            } else {
                for (key, value) in changes { words[key] = value }
                committed(try open.heap.commit(durability: durability), isDeferred: isDeferred)
            }
        case .create(let name, let pages): try store.createObject(named: name, size: bytes(pages))
        case .write(let name, let page, let seeds):
            var piece: [UInt8]? = CrashlabPage.bytes(seeds)
            try store.write(name, offset: bytes(page), from: { () throws(StoreError) in
                defer { piece = nil }
                return piece
            })
        case .delete(let name): try store.deleteObject(name)
        case .rename(let name, let new): try store.renameObject(name, to: new)
        case .resize(let name, let pages): try store.resizeObject(name, to: bytes(pages))
        case .snapshot(let name, let object): try store.createSnapshot(name, object: object)
        case .deleteSnapshot(let name): try store.deleteSnapshot(name)
        case .renameSnapshot(let name, let new): try store.renameSnapshot(name, to: new)
        case .rollBack(let name, let snapshot): try store.rollback(to: .snapshot(snapshot), object: name)
        case .clone(let name, let snapshot, let new):
            try store.clone(.init(name: name, state: snapshot.map { .snapshot($0) } ?? .head), as: new)
        case .map(let slot, let name), .copy(let slot, let name):
            let isCopy = if case .copy = step { true } else { false }
            let object = try store.object(named: name)
            try task.map(address: open.address(slot), size: object.size, anywhere: false, object: object, copy: isCopy)
            try commit()
        case .allocate(let slot, let seeds):
            let address = try task.allocate(address: open.address(slot), size: bytes(seeds.count), anywhere: false)
            for (page, seed) in seeds.enumerated() { CrashlabPage.fill(task.pointer(address) + page * CrashlabPage.size, seed) }
            try commit()
        case .unmap(let slot):
            try task.deallocate(address: open.address(slot), size: bytes(model.state.content(of: model.state.regions[slot]!).pageCount))
            try commit()
        case .protect(let slot, let isReadOnly):
            let size = bytes(model.state.content(of: model.state.regions[slot]!).pageCount)
            try task.protect(address: open.address(slot), size: size, isReadOnly ? .read : .default)
            try commit()
        case .flush: try store.flush()
        case .reclaim: try store.reclaim()
        case .optimize(let name): _ = try store.optimize(name)
        case .backUp(let name):
            try store.flush()
            try store.backup(to: folder + "/" + name)
        case .export(let name, let file):
            try store.flush()
            _ = try store.export(.init(name: name), to: folder + "/" + file)
        case .importFile(let file, let name): _ = try store.importFile(folder + "/" + file, named: name)
        case .reopen(let snapshot):
            try open.close()
            open = try CrashlabStore(in: folder, rollBackTo: snapshot)
        }
        switch step {
        case .store, .change, .reclaim, .optimize: break
        default: try synced()
        }
    }
}

internal import HostMemory
public import VMTypes

extension Store {
    /// How much memory of exclusive objects stays private to the process; from the next commit on.
    public var residency: ResidencyPolicy {
        get { residencyKeeper.policy }
        set { residencyKeeper.policy = newValue }
    }

    /// Gives private memory of exclusive objects back, the longest unused first, until `bytes` of it are left or no more can be
    /// traded; returns how many bytes are left at most. No byte changes.
    ///
    /// What was given back comes from the disk when it is touched again. What is not committed, wired memory, and memory that
    /// may not be read stay, each with all that the kernel keeps in the same page table (2 MiB).
    /// No other thread, system call or device stores to exclusive memory meanwhile, or the store may be lost (`ResidencyPolicy`);
    /// heaps hold their own changes off. Memory of shared objects is not concerned.
    ///
    /// - Throws: `.full`, `.io`, `.damaged`: what is not traded stays in memory, as it was. Where it is only some of it, all else is
    ///   traded, and the next call leaves it alone until it is next stored to. `.wrongState`: within a transaction or a change of
    ///   a heap.
    @discardableResult
    public func trim(to bytes: UInt64 = 0) throws(StoreError) -> UInt64 {
        try excludingChanges { () throws(StoreError) in
            try withMemory { (memory) throws(StoreError) in
                try checkOpen(memory)
                let objects = memory.exclusiveObjects
                for object in objects { try forgetEqual(object) }
                if let failure = try trade(objects, until: bytes) { throw failure }
                return privateBytes(objects)
            }
        }
    }

    /// What exclusive objects take of this process's memory, and whether giving it back failed.
    public var privateMemory: PrivateMemory {
        withMemory { memory in
            PrivateMemory(
                bytes: privateBytes(memory.exclusiveObjects), failure: residencyKeeper.failure)
        }
    }

    /// What an exclusive mapping does with bytes that would come to private memory: half of the limit is theirs.
    var spill: (home: ShadowHome, most: UInt64)? { residency.limit.map { (shadowHome, $0 / 2) } }

    private func privateBytes(_ objects: [MappedObject]) -> UInt64 {
        objects.reduce(0) { $0 + UInt64($1.exclusiveMapping?.privateBytes ?? 0) }
    }

    /// After a commit: trades what is above the limit. A failure stays for `privateMemory`: the version is made.
    func keepLimit(_ memory: Memory, isDeclared: Bool) {
        guard let limit = residency.limit else { return }
        let objects = memory.exclusiveObjects
        guard privateBytes(objects) > limit else { return }
        residencyKeeper.keep { () throws(StoreError) in
            if isDeclared {
                // The kernel still remembers declared stores.
                for object in objects { try forgetEqual(object) }
            }
            // A bit less, so that not each commit has to.
            return try trade(objects, until: limit / 8 * 7)
        }
    }

    /// Asks the kernel what was stored to, and keeps as pending what is not as committed.
    private func forgetEqual(_ object: MappedObject) throws(StoreError) {
        try object.gather()
        var kept: [PageRange] = []
        for run in object.pending {
            for page in run.start..<run.end {
                let one = PageRange(start: page, count: 1)
                if try differs(object, [one]) { kept.append(one) }
            }
        }
        object.pending = joined(kept)
    }

    /// Bytes of copies that wait for the disk together, in memory beside what they are copies of.
    private static let batchBytes = 16 << 20

    /// Trades the coldest tables of all objects until so many bytes are left. Returns why a table could not be: it goes on with
    /// the others.
    ///
    /// What is pending stays: a shadow file holds committed bytes only, so that a disk that can't read it again loses nothing.
    private func trade(_ objects: [MappedObject], until bytes: UInt64) throws(StoreError) -> StoreError? {
        guard privateBytes(objects) > bytes else { return nil }
        let mappings = objects.compactMap(\.exclusiveMapping)
        var tables: [(index: Int, table: ColdTable)] = []
        for (index, object) in objects.enumerated() {
            tables += try mappings[index].coldTables(without: joined(object.pending)).map { (index, $0) }
        }
        tables.sort { $0.table.age > $1.table.age }
        var failure: StoreError?
        func step(_ index: Int, _ table: ColdTable) throws(StoreError) -> ExclusiveMapping.TradeStep {
            do throws(StoreError) { return try mappings[index].trade(table.number, to: shadowHome) } catch {
                guard error.code != .full else { throw error }
                failure = failure ?? error
                return .refused
            }
        }
        var next = 0
        while next < tables.count {
            let left = privateBytes(objects)
            guard left > bytes else { break }
            // One wait for the disk for a bounded batch of what has to go.
            var batch: [(index: Int, table: ColdTable)] = []
            var going: UInt64 = 0, copied = 0
            while next < tables.count, going < left - bytes, copied < Self.batchBytes {
                let (index, table) = tables[next]
                next += 1
                let result = try step(index, table)
                if case .copied(let pages) = result {
                    batch.append((index, table))
                    copied += pages << Page.shift
                }
                if result != .refused { going += UInt64(table.heldPages) << UInt64(Page.shift) }
            }
            for index in Set(batch.map(\.index)) { try mappings[index].settleCopies() }
            for (index, table) in batch { _ = try step(index, table) }
        }
        return failure
    }
}

extension Store.Memory {
    /// Objects of the store in private memory that can be stored to.
    var exclusiveObjects: [MappedObject] {
        mapped.values.filter { $0.managed == nil && $0.isWritable && $0.exclusiveMapping != nil }
    }
}

extension MappedObject {
    var exclusiveMapping: ExclusiveMapping? {
        if case .exclusive(let mapping) = home { mapping } else { nil }
    }
}

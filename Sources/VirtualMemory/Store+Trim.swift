internal import HostMemory
public import VMTypes

extension Store {
    /// Gives private memory of exclusive objects back, the longest unused first, until `bytes` of it are left or no more can be
    /// traded; returns how many bytes are left at most. No byte changes, committed or not.
    ///
    /// What was given back comes from the disk when it is touched again. Wired memory, and memory that may not be read, stays.
    /// No other thread, system call or device stores to exclusive memory meanwhile (`ResidencyPolicy`); heaps hold their own
    /// changes off. Memory of shared objects is not concerned.
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
                // What the kernel has been asked about is remembered as pending: then it may be forgotten there.
                for object in objects { try object.gather() }
                let mappings = objects.compactMap(\.exclusiveMapping)
                if let failure = try trade(mappings, to: shadowHome, until: bytes) { throw failure }
                return privateBytes(mappings)
            }
        }
    }

    /// What exclusive objects take of this process's memory, and whether giving it back failed.
    public var privateMemory: PrivateMemory {
        withMemory { memory in
            PrivateMemory(bytes: privateBytes(memory.exclusiveObjects.compactMap(\.exclusiveMapping)), failure: trader.failure)
        }
    }

    /// What an exclusive mapping does with bytes that would come to private memory: half of the limit is theirs.
    var spill: (home: ShadowHome, most: UInt64)? { residency.limit.map { (shadowHome, $0 / 2) } }

    private func privateBytes(_ mappings: [ExclusiveMapping]) -> UInt64 { mappings.reduce(0) { $0 + UInt64($1.privateBytes) } }

    /// Lets cold memory of objects be traded while `body` makes a version durable.
    func tradingMeanwhile<Result>(_ objects: [MappedObject], _ body: () throws(StoreError) -> Result) throws(StoreError) -> Result {
        let residency = residency
        guard residency.isActive, !objects.isEmpty else { return try body() }
        let mappings = objects.compactMap(\.exclusiveMapping)
        var isTrading = false
        if let limit = residency.limit, privateBytes(mappings) > limit / 4 * 3 {
            isTrading = trader.begin(mappings, rounds: residency.tradesCold ? nil : 2, to: shadowHome)
        } else if residency.tradesCold {
            isTrading = trader.begin(
                mappings.filter { $0.tracking == .asyncWriteProtect }, rounds: nil,
                to: residency.limit == nil ? .memory : shadowHome)
        }
        defer { if isTrading { trader.end() } }
        return try body()
    }

    /// After a commit: trades what is above the limit. A failure stays for `privateMemory`: the version is made.
    func keepLimit(_ memory: Memory, isDeclared: Bool) {
        guard let limit = residency.limit else { return }
        let objects = memory.exclusiveObjects
        let mappings = objects.compactMap(\.exclusiveMapping)
        guard privateBytes(mappings) > limit, trader.mayTryLimit() else { return }
        do throws(StoreError) {
            if isDeclared {
                // The kernel still remembers declared stores.
                for object in objects { try forgetEqual(object) }
            }
            // A bit less, so that not each commit has to.
            trader.limitTried(try trade(mappings, to: shadowHome, until: limit / 8 * 7), goesOn: true)
        } catch {
            trader.limitTried(error, goesOn: false)
        }
    }

    /// Asks the kernel what was stored to, and keeps as pending what differs from what is committed.
    private func forgetEqual(_ object: MappedObject) throws(StoreError) {
        try object.gather()
        if !object.pending.isEmpty, try !differs(object, object.pending) { object.pending.removeAll(keepingCapacity: true) }
    }

    /// Trades the coldest tables of all mappings until so many bytes are left. Returns why a table could not be: it goes on with
    /// the others.
    private func trade(_ mappings: [ExclusiveMapping], to home: ShadowHome, until bytes: UInt64) throws(StoreError) -> StoreError? {
        guard privateBytes(mappings) > bytes else { return nil }
        var tables = mappings.enumerated().flatMap { index, mapping in
            mapping.coldTables(rounds: 0).filter { $0.heldPages > 0 }.map { (index: index, table: $0) }
        }
        tables.sort { $0.table.age > $1.table.age }
        var failure: StoreError?
        func step(_ index: Int, _ table: ColdTable) throws(StoreError) -> ExclusiveMapping.TradeStep {
            do throws(StoreError) {
                return try mappings[index].trade(table.number, to: home, pages: ExclusiveMapping.pagesInTable)
            } catch {
                guard error.code != .full else { throw error }
                failure = failure ?? error
                return .refused
            }
        }
        var next = 0
        while next < tables.count, privateBytes(mappings) > bytes {
            // One wait for the disk for all that has to go, a bounded number of tables.
            let above = privateBytes(mappings) - bytes
            var batch: [(index: Int, table: ColdTable)] = []
            var going: UInt64 = 0
            while next < tables.count, going < above, batch.count < 32 {
                let (index, table) = tables[next]
                next += 1
                var result = try step(index, table)
                while result == .copied { result = try step(index, table) }
                if result == .unsettled { batch.append((index, table)) }
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

internal import Glibc
internal import Synchronization
public import VMTypes

extension PageStore {
    /// Makes one version of what `inputs` hold now and of `operations`, all or nothing; returns that version.
    ///
    /// The pages are copied before anything else happens: afterwards the caller may let their memory change. Where
    /// nothing differs from what is committed, no version is made and the last one is returned. Throws `.full`, `.io`,
    /// `.exists`, `.notFound` (nothing changed, try again) or `.unknownOutcome` (reopen). Thread-safe; concurrent
    /// commits share a flush. Commits of one object must not overlap.
    ///
    /// - Parameter restored: Of objects whose lineage goes back to states of theirs, what comparisons of these with the last
    ///   one told: their page tables need not be made anew then.
    public func commit(
        _ inputs: [LayerInput], operations: [StoreOperation] = [], durability: Durability = .synced, restored: [ObjectComparison] = []
    ) throws(StoreError) -> Version {
        if Mutant.isPlanted(.firstLayerAlone), inputs.count > 1 {
            _ = try commit([inputs[0]], staged: [], operations: operations, durability: durability)
            return try commit(Array(inputs[1...]), staged: [], operations: [], durability: durability)
        }
        return try commit(inputs, staged: [], operations: operations, durability: durability, restored: restored)
    }

    /// As above, with layers that are in the page store already under records that nothing names yet.
    func commit(
        _ inputs: [LayerInput], staged: [(layer: JournalLayer, places: [Place])], operations: [StoreOperation],
        durability: Durability, restored: [ObjectComparison] = []
    ) throws(StoreError) -> Version {
        try requireWriter()
        try validate(inputs, staged)
        let inputs = completed(inputs, staged, operations)
        let pages = inputs.reduce(0) { $0 + $1.pageCount }
        let operationBytes = StoreOperation.encode(operations).count
        if pages > 0,
            CommitRequest.bound(pages: pages, layers: inputs.count, operationBytes: operationBytes) > journal.maximumRecord
        {
            return try commitLarge(inputs, staged: staged, operations: operations, durability: durability)
        }
        let request = spareRequests.withLock { $0.popLast() } ?? CommitRequest(capacity: 64 << 10)
        defer {
            request.outcome = nil
            request.restored = []
            spareRequests.withLock { if $0.count < 4 { $0.append(request) } }
        }
        let pins = try pins(of: operations)
        defer { withExtendedLifetime(pins) {} }
        request.capture(
            inputs, staged: staged, operations: operations, committed: CommittedPages(self, inputs, operations))
        request.durability = durability
        request.restored = restored
        if request.isEmpty {
            if durability == .synced { try flush() }
            return lastVersion
        }
        guard request.length <= journal.maximumRecord else {
            throw StoreError(
                .full, "a commit of \(request.length) bytes of page entries does not fit the journal's ring",
                advice: "Make the store with a larger ring", path: folder)
        }
        return try append(request)
    }

    private func validate(_ inputs: [LayerInput], _ staged: [(layer: JournalLayer, places: [Place])]) throws(StoreError) {
        let objects = inputs.map(\.object) + staged.map(\.layer.object)
        guard Set(objects).count == objects.count else {
            throw StoreError(.invalid, "a commit holds two layers of one object", advice: "Make one layer of them")
        }
        for input in inputs {
            guard let last = input.runs.last else { continue }
            for (run, next) in zip(input.runs, input.runs.dropFirst()) where run.end > next.start {
                throw StoreError(.invalid, "\(run) and \(next) of object \(input.object) overlap or are out of order")
            }
            guard last.end <= Page.count(forBytes: Int(input.size)) else {
                throw StoreError(
                    .invalid, "\(last) of object \(input.object) lie beyond its \(input.size) bytes",
                    advice: "Resize the object first")
            }
        }
    }

    /// Queues the record; its thread, or another that is writing already, writes and flushes all that is queued.
    private func append(_ request: CommitRequest) throws(StoreError) -> Version {
        state.withLock { $0.queue.append(request) }
        while true {
            let outcome: Result<Version, StoreError>? = state.wait { state in
                if let outcome = request.outcome { return .some(outcome) }
                // Nobody writes: this thread does, what stands before its record too.
                guard !state.leading else { return nil }
                state.leading = true
                return .some(nil)
            }
            if let outcome { return try outcome.get() }
            lead()
        }
    }

    /// Writes what is queued, flushes once, publishes, and gives up the lead. `leading` is ours on entry.
    private func lead() {
        var batch: [CommitRequest] = []
        state.withLock { state in
            // One that changes names is checked against all before it, so it ends its batch.
            // A batch that settling cannot overtake must leave room in the ring for the next record.
            var end = 0
            var bytes = 0
            while end < state.queue.count, end == 0 || bytes + state.queue[end].length <= journal.maximumRecord {
                bytes += state.queue[end].length
                end += 1
                if !state.queue[end - 1].operations.isEmpty { break }
            }
            batch = Array(state.queue[..<end])
            state.queue.removeFirst(end)
        }
        var written: [(request: CommitRequest, header: JournalHeader)] = []
        for request in batch {
            do throws(StoreError) {
                written.append((request, try write(request)))
            } catch {
                state.withLock { _ in request.outcome = .failure(error) }
            }
        }
        Failpoint.pass("journal.written")
        var failure: StoreError?
        let mustFlush = batch.contains { $0.durability == .synced && !Mutant.isPlanted(.answeredBeforeFlush) }
            || state.withLock { $0.unflushed + written.count } >= Self.maximumUnflushed
        if mustFlush, !written.isEmpty || state.withLock({ $0.unflushed > 0 }) {
            do throws(StoreError) { try journal.flush() } catch {
                failure = error
                if !Mutant.isPlanted(.failedFlushForgotten) { state.withLock { $0.failure = error } }
            }
        }
        Failpoint.pass("journal.flushed")
        let records = failure != nil ? [] : written.map { request, header in
            request.youngRecord(header, in: youngPages) {
                state.withLock { $0.spareBuffers.popLast() } ?? AlignedBuffer(capacity: Page.size)
            }
        }
        state.withLock { state in
            for (record, (request, _)) in zip(records, written) { publish(record, request.restored, &state) }
            for (request, header) in written {
                request.outcome = if let failure { .failure(failure) } else { .success(header.version) }
            }
            if failure == nil {
                if mustFlush {
                    state.flushed = state.last
                    state.unflushed = 0
                } else {
                    state.unflushed += written.count
                }
            }
            state.leading = false
            if isMuchToSettle(state) { state.wantsSettling = true }
            if state.wantsSettling { self.state.wakeWorker() }
        }
        state.wake()
        Failpoint.pass("journal.published")
    }

    /// Gives the record its version and place, waits for space in the ring, and writes it there.
    private func write(_ request: CommitRequest) throws(StoreError) -> JournalHeader {
        let length = request.length
        try markDirty(beforeRecordOf: length)
        try makeSettleable(beforeRecordOf: length)
        var isFirstTry = true
        var header: JournalHeader = try state.wait { (state) throws(StoreError) in
            if let failure = state.failure { throw poisoned(by: failure) }
            guard !state.closing else {
                throw StoreError(.wrongState, "the store is closed", advice: "Open it again", path: folder)
            }
            let position = journal.position(forRecordOf: length, head: state.head)
            guard position + (Mutant.isPlanted(.ringOverrun) ? 0 : UInt64(length)) - state.tail <= UInt64(ringBytes) else {
                if isFirstTry { state.settleFailure = nil }
                isFirstTry = false
                if let failure = state.settleFailure {
                    state.settleFailure = nil
                    throw StoreError(
                        failure.code == .full ? .full : .io,
                        "the journal is full and could not be settled: \(failure.message)",
                        advice: "Free some space and commit again; nothing was lost", path: folder, errno: failure.errno)
                }
                state.wantsSettling = true
                self.state.wakeWorker()
                return nil
            }
            // What is being folded or merged now may be what the operations are about to pin.
            if try mayLosePast(of: request, &state) { return nil }
            try validate(request, &state)
            var header = JournalHeader()
            header.flags = request.durability == .deferred ? JournalHeader.deferredFlag : 0
            header.store = uuid
            header.nonce = state.nonce
            header.version = state.nextVersion
            header.previousVersion = state.last
            header.chain = state.chain
            header.position = position
            header.flushedThrough = state.flushed
            header.settledThrough = state.settled
            header.time = Self.now()
            return header
        }
        request.seal(&header)
        do throws(StoreError) {
            try journal.write(request.bytes, at: header.position)
        } catch {
            // What reached the file may or may not be the whole record.
            let unknown = StoreError(
                .unknownOutcome, "the journal could not be written: \(error.message)",
                advice: "Reopen the store: that settles this commit to done or not done", path: error.path, errno: error.errno)
            state.withLock { $0.failure = unknown }
            throw unknown
        }
        state.withLock { state in
            state.head = header.position + header.length
            state.chain = header.checksum
            state.last = header.version
            state.nextVersion = header.version.next
        }
        return header
    }

    /// What a commit that was never tried is told after one whose outcome is unknown.
    private func poisoned(by failure: StoreError) -> StoreError {
        StoreError(
            .poisoned, "an earlier write of the journal failed, so this commit was not tried: \(failure.message)",
            advice: "Close and reopen the store", path: failure.path, errno: failure.errno)
    }

    /// Flushes deferred commits where the ring has no room: only what is flushed can be settled.
    private func makeSettleable(beforeRecordOf length: Int) throws(StoreError) {
        let (isFull, unflushed) = state.withLock { state in
            let end = journal.position(forRecordOf: length, head: state.head) + UInt64(length)
            return (end - state.tail > UInt64(ringBytes), state.unflushed > 0)
        }
        guard isFull, unflushed else { return }
        do throws(StoreError) { try journal.flush() } catch {
            state.withLock { $0.failure = error }
            throw error
        }
        state.withLock { state in
            state.flushed = state.young.last?.version ?? state.flushed
            state.unflushed = 0
        }
    }

    /// - Parameter restored: States that the record's lineage goes back to, compared with the last one.
    private func publish(_ record: YoungRecord, _ restored: [ObjectComparison], _ state: inout State) {
        var record = record
        for index in record.layers.indices {
            let object = record.layers[index].object
            guard let table = state.heads[object] else { continue }
            let replaced = apply(record.layers[index], to: table)
            // Where lineage comes along, the layer lies over that. What was staged is too much to remember.
            guard record.layers[index].record == 0, !record.rebases(object) else { continue }
            record.layers[index].replaced = replaced
            record.layers[index].replacedEpoch = state.epoch
        }
        for operation in record.operations {
            // Reading the page store's tables can fail here only if it is damaged; the commit itself is done.
            try? state.metadata.apply(operation, version: record.version, time: record.header.time)
            switch operation {
            case .createObject(let object, _, _, _): state.nextID = max(state.nextID, object.rawValue + 1)
            case .lineage(let object, let source, let version, _):
                let comparison = restored.first { object == source && $0.object == object && $0.before == version }
                if let comparison, restore(comparison, by: record, &state) { continue }
                retire(object, &state)
            case .deleteObject(let object): retire(object, &state)
            default: break
            }
        }
        state.young.append(record)
    }

    /// Views of the head that was still read through its table; that is told where its pages go.
    private func retire(_ object: ObjectID, _ state: inout State) {
        guard let table = state.heads.removeValue(forKey: object) else { return }
        table.readAll()
        state.others.append(WeakTable(table: table))
    }

    /// Makes the head's table that of the state that a comparison went out from; false where the head has changed since, or more
    /// than the comparison tells of.
    private func restore(_ comparison: ObjectComparison, by record: YoungRecord, _ state: inout State) -> Bool {
        let object = comparison.object
        guard let table = state.heads[object], state.settled <= comparison.after, !record.layers.contains(where: { $0.object == object }),
            !state.young.reversed().prefix(while: { $0.version > comparison.after }).contains(where: { $0.changes(object) }),
            comparison.restore(table)
        else { return false }
        state.partsToCheckpoint[object] = max(comparison.partsOfBefore, state.partsToCheckpoint[object] ?? 0)
        return true
    }

    /// Lays a layer over a table; answers what was there before.
    private func apply(_ layer: YoungLayer, to table: PageTable) -> [PageTable.Slot] {
        let replaced = table.withLock { storage in
            storage.size = layer.size
            if layer.floorPage != .max { storage.clear(from: Int(layer.floorPage)) }
            return zip(layer.entries, layer.places).map { entry, place in
                defer { storage[Int(entry.page)] = PageTable.Slot(place: place, checksum: entry.isZero ? 0 : entry.checksum) }
                return storage[Int(entry.page)]
            }
        }
        var links: [(patch: Place, under: PageTable.Slot)] = []
        for index in layer.entries.indices where layer.entries[index].isPatch { links.append((layer.places[index], replaced[index])) }
        youngPages.link(links)
        return replaced
    }

    /// Puts every deferred commit on the disk.
    public func flush() throws(StoreError) { try flush(besideLeader: false) }

    /// - Parameter besideLeader: Whether to do nothing where somebody writes: who leads may wait for the caller to settle.
    func flush(besideLeader: Bool) throws(StoreError) {
        try requireWriter()
        let mine = try state.wait { (state) throws(StoreError) -> Bool? in
            if let failure = state.failure { throw failure }
            if state.unflushed == 0 && !state.leading { return false }
            if state.leading { return besideLeader ? false : nil }
            state.leading = true
            return true
        }
        guard mine else { return }
        var failure: StoreError?
        do throws(StoreError) { try journal.flush() } catch { failure = error }
        state.withLock { state in
            if let failure {
                state.failure = failure
            } else {
                state.flushed = state.last
                state.unflushed = 0
            }
            state.leading = false
        }
        state.wake()
        if let failure { throw failure }
    }
}

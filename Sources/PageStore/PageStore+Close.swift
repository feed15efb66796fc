internal import Glibc
internal import Synchronization
public import VMTypes

extension PageStore {
    /// Settles, marks the store as closed, and gives up the writer's lock. The store is of no use afterwards.
    ///
    /// A disk that is full or fails makes the next opening recover instead; the error says so, nothing is lost. What the outbox has up
    /// to `heard`, which the catalog has on its own disk, is forgotten with that.
    public func close(forgettingOutboxThrough heard: Version? = nil) throws(StoreError) {
        guard isWriter else {
            readerLease.withLock { $0 = nil }
            lmdb.close()
            return
        }
        stopSettler()
        defer {
            lmdb.close()
            leases.unlockWriter()
        }
        if let failure = state.withLock({ $0.failure }) { throw failure }
        guard state.withLock({ $0.markedDirty }) || !recovery.wasClean else {
            if let heard { try trimOutbox(through: heard) }
            return
        }
        try settle()
        Failpoint.pass("close.settled")
        // Without one the next opening takes longer, no more.
        try? checkpointBeforeClosing()
        try exclusively { () throws(StoreError) in
            try lmdb.write { (t) throws(StoreError) in
                try saveCounters(t)
                if let heard { for version in try outboxVersions(through: heard, t) { try t.delete(.outbox, Key(version)) } }
                guard var meta = try t.row(.meta, StoreMeta.key, StoreMeta.self) else { return }
                // What was reserved and not given out is free again.
                meta.nextID = state.withLock { $0.nextID }
                let hasStaged = try self.hasStaged(t)
                meta.clean = state.withLock { $0.young.isEmpty && $0.unflushed == 0 } && !hasStaged
                if meta.clean { meta.longestRecord = Journal.usualLongestRecord }
                try t.put(.meta, StoreMeta.key, row: meta)
            }
        }
        Failpoint.pass("close.marked")
        state.withLock { $0.markedDirty = false }
    }

    /// Copies a settled page store to an empty folder, while it is in use; the copy is synced and closed.
    ///
    /// The copy has an empty journal and no free pages; what waits in the graveyard is copied too.
    public func backup(to destination: String) throws(StoreError) {
        if isWriter {
            try settle()
            // Copying believes what the headers of large values say of their length.
            try exclusively { () throws(StoreError) in try LMDBFile.check(pages) }
        }
        try lmdb.copy(to: destination + "/" + StoreFile.pages)
        try Journal.create(path: destination + "/" + StoreFile.journal, store: uuid, ringBytes: ringBytes)
        try LeaseFile.create(path: destination + "/" + StoreFile.leases)
        let copy = try LMDB(path: destination + "/" + StoreFile.pages, readOnly: false)
        try copy.write { (t) throws(StoreError) in
            guard var meta = try t.row(.meta, StoreMeta.key, StoreMeta.self) else { return }
            try Self.deleteCheckpoints(t)
            meta.mark.position = 0
            meta.mark.chain = 0
            meta.mark.lastPosition = 0
            // Recovery deletes what was staged while the copy was made.
            meta.clean = try !hasStaged(t)
            try t.put(.meta, StoreMeta.key, row: meta)
        }
        try copy.sync()
        try Folder.sync(destination)
    }

    /// True where parts are in the page store that no commit names yet.
    private func hasStaged(_ t: LMDB.Transaction) throws(StoreError) -> Bool {
        var found = false
        try t.forEach(.graveyard, from: Key(0), prefix: 8) { (_, _) throws(StoreError) in
            found = true
            return false
        }
        return found
    }

    /// Bytes of the page store's file in use, free within it, and of the journal waiting to be settled.
    public func usage() throws(StoreError) -> (pages: Int, free: Int, journal: Int) {
        let (used, free) = try lmdb.usage()
        return (used, free, state.withLock { Int($0.head - $0.tail) })
    }
}

extension PageStore {
    /// Ends this process's use of the store as a crash would, for tests: nothing is flushed, settled or marked.
    ///
    /// `body` runs when nothing moves any more, with the files as the crash leaves them.
    func abandon<Failure: Error>(_ body: () throws(Failure) -> Void) throws(Failure) {
        stopSettler()
        settling._unsafeLock()
        defer { settling._unsafeUnlock() }
        lmdb.close()
        leases.unlockWriter()
        try body()
    }

    package func abandon() { abandon {} }
}

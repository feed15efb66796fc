#if VARVE_MUTANTS
    internal import Glibc
#endif

/// Bugs to plant: each is a mistake that somebody could make here, and what proves that a test or the crash lab would notice.
///
/// Where the package is built with the condition `VARVE_MUTANTS` (the variable of that name in the environment of `swift build`),
/// the variable `VARVE_MUTANT` names the one that lives. In any other build none can, and what it guards is no code at all.
/// `Tools/mutants` plants each in turn; docs/CRASHLAB.md has what noticed it.
@_documentation(visibility: internal)
public enum Mutant: Sendable {
    // MARK: The journal

    /// A flush of the journal does nothing.
    case journalNotFlushed
    /// A synced commit is answered as a deferred one is: before the flush.
    case answeredBeforeFlush
    /// A failed flush of the journal fails its own commits only: the store goes on.
    case failedFlushForgotten
    /// Room in the ring is counted without the record itself: its end lies over the oldest one.
    case ringOverrun
    /// The transaction before an opening's first record leaves the store marked as closed.
    case storeStaysClean
    /// A commit of several layers is two records: the first layer's with the operations, and that of the others.
    case firstLayerAlone
    /// Pages of zeros are not worth an entry, whatever they replace.
    case zerosForgotten
    /// A page that equals the head's is left out, though the same commit puts other layers under it.
    case rebasedPageUnchanged
    /// A snapshot is named by a commit that is not flushed.
    case snapshotNotFlushed

    // MARK: Recovery

    /// Whatever intact record lies at the chain's end is taken for the next one.
    case anyRecordChainsOn
    /// The checksum of a record's prologue is not looked at.
    case prologueUnchecked
    /// The pages of a record that nothing proves flushed are not looked at.
    case tornPagesAccepted
    /// Records that nothing proves flushed are served as they are.
    case unprovenNotRewritten
    /// Nothing behind the chain's end is looked for: damage is taken for a torn tail.
    case damageTakenForTornTail
    /// LMDB's file is not synced: what a killed writer left in the page cache is believed.
    case pageCacheTrusted
    /// Versions go on behind the last one that was found, also where more had been told.
    case versionsUsedTwice
    /// Deletions that are in the journal are not applied.
    case deletionForgotten
    /// Parts that a record in the journal names are deleted like those that nothing names.
    case namedStageDeleted
    /// Parts that nothing names stay.
    case orphansKept
    /// The journal of another store is taken.
    case foreignJournalTaken
    /// Nobody asks whether another process writes.
    case writersLockIgnored

    // MARK: Settling

    /// The mark moves in a transaction before that of the layers it stands for.
    case markBeforeLayers
    /// One layer of a batch is left out.
    case layerLeftOut
    /// Commits get no row in the outbox.
    case outboxForgotten
    /// Of several entries of a page the oldest goes on.
    case oldestBytesWin
    /// Layers are folded across the versions of snapshots.
    case foldCrossesSnapshots
    /// Layers are folded across the versions that clones and rollbacks begin with.
    case foldCrossesLineage
    /// Page tables are not told that pages have left the ring.
    case tablesNotTold
    /// LMDB is opened with MDB_NOSYNC.
    case pagesNotSynced
    /// LMDB is opened with MDB_NOMETASYNC.
    case metaPageNotSynced

    // MARK: Merging, leases and checkpoints

    /// Layers that only snapshots see are taken for dead.
    case mergeForgetsSnapshots
    /// Entries of zeros are not copied into a merged layer.
    case mergeForgetsZeros
    /// A merged layer does not say where its object was cut off.
    case mergeForgetsCut
    /// A merge leaves checkpoints pointing at where pages were.
    case checkpointNotCorrected
    /// A checkpoint from before a rollback is used after it.
    case staleCheckpoint
    /// Parts that go out of use are deleted at once.
    case recordDeletedAtOnce
    /// What leases pin is buried with the rest.
    case leasesIgnored
    /// Leases of other processes are not seen.
    case foreignLeasesIgnored
    /// A clone shows its source's head, not the version that it was made of.
    case cloneFollowsHead

    // MARK: Checksums

    /// Pages that are read are not compared with their checksums.
    case readUnchecked
    /// `verify` does not compare pages with their checksums.
    case verifyUnchecked
    /// The checksum of a page leaves out its last 512 bytes.
    case sumOfPartOfPage

    // MARK: The catalog

    /// Commits that the catalog has are applied again.
    case changesAppliedTwice
    /// The last of several changes of a commit is left out.
    case lastChangeLeftOut
    /// The catalog's mark is one version ahead.
    case catalogMarkAhead
    /// The catalog of another store is taken.
    case foreignCatalogTaken
    /// SQLite runs with synchronous OFF.
    case catalogNotSynced

    // MARK: Creation and export

    /// A store is made where it is to be, not beside it.
    case madeInPlace
    /// A new journal is not synced.
    case newJournalNotSynced
    /// The name of a new store is not synced.
    case nameNotSynced
    /// Who opens a store in which nothing has settled does not sync its name.
    case nameOfKilledCreatorNotSynced
    /// An exported file is not synced before it gets its name.
    case exportNotSynced

    // MARK: Memory and heaps

    /// The last of several pages that were stored to in a row is left out.
    case lastDirtyPageForgotten
    /// Pages are looked at, and armed by another call.
    case armedAfterTheLook
    /// What is to be committed is forgotten before the commit has succeeded.
    case pendingForgotten
    /// An abandoned transaction leaves the allocator's spans and runs as they were.
    case spansNotForgotten
    /// An abandoned transaction leaves the threads' caches of blocks as they were.
    case cachesNotForgotten
    /// The page of the bitmap that an allocation changes is not declared.
    case bitUndeclared

    #if VARVE_MUTANTS
        private static let planted: Mutant? = {
            guard let name = getenv("VARVE_MUTANT").map({ String(cString: $0) }), !name.isEmpty else { return nil }
            guard let mutant = allCases.first(where: { "\($0)" == name }) else { fatalError("there is no mutant '\(name)'") }
            return mutant
        }()

        /// Whether this is the one that lives.
        public static func isPlanted(_ mutant: Mutant) -> Bool { mutant == planted }
    #else
        /// False.
        @inlinable @inline(__always)
        public static func isPlanted(_ mutant: Mutant) -> Bool { false }
    #endif
}

#if VARVE_MUTANTS
    extension Mutant: CaseIterable {}
#endif

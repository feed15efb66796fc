internal import Glibc
public import VMTypes

extension PageStore {
    /// How a store is made.
    public struct CreateOptions: Sendable {
        /// Bytes of the journal's ring; a multiple of the page size, at least 256 KiB.
        public var ringBytes: Int
        /// Where task windows begin; nil draws a place at random.
        public var windowBase: UInt64?

        public init(ringBytes: Int = 64 << 20, windowBase: UInt64? = nil) {
            self.ringBytes = ringBytes
            self.windowBase = windowBase
        }
    }

    /// Makes the files of an empty page store in `folder`, which is there and empty; all synced when this returns.
    ///
    /// Making the folder whole under another name and renaming it is the caller's: an LMDB file that a crash cuts off
    /// before its first commit never opens again.
    public static func create(in folder: String, options: CreateOptions = CreateOptions()) throws(StoreError) -> StoreUUID {
        guard options.ringBytes >= Journal.minimumRing, options.ringBytes <= Journal.maximumRing, options.ringBytes % Page.size == 0 else {
            throw StoreError(
                .invalid, "a ring of \(options.ringBytes) bytes is too small, too large or no multiple of \(Page.size)",
                advice: "Give at least \(Journal.minimumRing) and at most \(Journal.maximumRing)")
        }
        let uuid = StoreUUID.random()
        // Below where programs and libraries are loaded; in steps of a window, so that two stores seldom meet.
        let base = options.windowBase ?? (0x1000_0000_0000 + UInt64.random(in: 0..<0x3f00) << 32)
        try Journal.create(path: folder + "/" + StoreFile.journal, store: uuid, ringBytes: options.ringBytes)
        try LeaseFile.create(path: folder + "/" + StoreFile.leases)
        let lmdb = try LMDB(path: folder + "/" + StoreFile.pages, readOnly: false)
        try lmdb.write { (t) throws(StoreError) in
            try t.put(.meta, StoreMeta.key, row: StoreMeta(store: uuid, windowBase: base))
        }
        try lmdb.sync()
        try Folder.sync(folder)
        return uuid
    }
}

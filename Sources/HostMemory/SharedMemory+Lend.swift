internal import Glibc
internal import Synchronization
public import VMTypes

/// A program that is given slices of an arena gets the arena's file, and a lock over each slice, which the kernel keeps as
/// long as a copy of the descriptor or a mapping of it lives, in whatever process.
extension MemoryArena {
    /// A descriptor of the file for another process, the caller's to close, through which slices are lent.
    public func makeDescriptor(readOnly: Bool) throws(StoreError) -> Int32 { try SystemCall.openAnew(file, readOnly: readOnly) }
}

extension SharedMemory {
    /// The arena whose slice this is.
    public var sharedArena: MemoryArena? { arena }

    /// The page of the memory file that is the object's page 0.
    public var firstPageInFile: Int { firstFilePage }

    /// Lends a slice through a descriptor that its arena made.
    ///
    /// All committed bytes are brought into memory first, since nobody serves the other process's faults; from then on
    /// nothing can be discarded. `isHeldForWriting` says as long as the process may have the pages. Whoever has the
    /// descriptor can reach all slices of the arena: it is for programs that are trusted with them.
    ///
    /// - Throws: `.wrongState` for memory with a file of its own; the provider's errors.
    public func lend(through descriptor: Int32) throws(StoreError) {
        try locked { () throws(StoreError) in
            guard !isAlone else { throw StoreError(.wrongState, "Memory with a file of its own is given by `makeDescriptor`") }
            try fillAbsent(live)
            try SystemCall.lockShared(descriptor, inFile(live))
            isExported = true
        }
    }

    /// Copies pages, as they are now, to memory whose page `first` takes the first of them. Pages of zeros are left out.
    ///
    /// - Throws: The provider's errors; `.full`, `.io`.
    public func copy(_ pages: PageRange, to target: ForeignMemory, at first: Int) throws(StoreError) {
        let range = pages.intersection(live)
        guard range.count > 0 else { return }
        try locked { () throws(StoreError) in
            if !demandFill { try fillAbsent(range) }
            let buffer = FillBuffer()
            var absent = demand.overlapping(range)
            func move(_ run: PageRange, _ bring: (PageRange) throws(StoreError) -> Void) throws(StoreError) {
                var next = run.start
                while next < run.end {
                    let chunk = PageRange(start: next, count: min(FillBuffer.pages, run.end - next))
                    try bring(chunk)
                    try target.store(PageRange(start: first + next - pages.start, count: chunk.count), from: buffer.pointer)
                    next = chunk.end
                }
            }
            try SystemCall.forEachPresentRun(file, inFile(range)) { run throws(StoreError) in
                let own = PageRange(start: run.start - self.firstFilePage, count: run.count)
                try move(own) { (chunk) throws(StoreError) in try SystemCall.read(buffer.pointer, self.file, self.inFile(chunk)) }
                absent = absent.flatMap { $0.without(own) }
            }
            for part in absent {
                for run in try provider.checkedRuns(in: part) {
                    switch run.kind {
                    case .file, .fill:
                        try move(run.pages) { (chunk) throws(StoreError) in try self.provider.fill(chunk, into: buffer.pointer) }
                    case .zero, .beyondEnd: break
                    }
                }
            }
        }
    }
}

extension SystemCall {
    /// Opens a memory file anew, so that locks are the descriptor's own.
    static func openAnew(_ file: Int32, readOnly: Bool) throws(StoreError) -> Int32 {
        Int32(
            try check("open") {
                let result = open("/proc/self/fd/\(file)", (readOnly ? O_RDONLY : O_RDWR) | O_CLOEXEC)
                return result < 0 ? -Int(errno) : Int(result)
            })
    }

    private static func lock(_ pages: PageRange, _ kind: Int32) -> flock {
        var lock = flock()
        lock.l_type = Int16(kind)
        lock.l_whence = Int16(SEEK_SET)
        lock.l_start = off_t(pages.start << Page.shift)
        lock.l_len = off_t(pages.count << Page.shift)
        return lock
    }

    /// Locks pages for as long as the open file lives.
    static func lockShared(_ descriptor: Int32, _ pages: PageRange) throws(StoreError) {
        var wanted = lock(pages, F_RDLCK)
        try check("fcntl") { fcntl(descriptor, 37 /* F_OFD_SETLK */, &wanted) < 0 ? -Int(errno) : 0 }
    }

    /// Whether another open file has locked some of the pages.
    static func isLocked(_ descriptor: Int32, _ pages: PageRange) -> Bool {
        var wanted = lock(pages, F_WRLCK)
        guard fcntl(descriptor, 36 /* F_OFD_GETLK */, &wanted) == 0 else { return true }
        return wanted.l_type != Int16(F_UNLCK)
    }
}

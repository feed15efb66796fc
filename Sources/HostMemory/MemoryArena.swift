internal import CHostMemory
internal import Glibc
internal import Synchronization
public import VMTypes

/// A large sparse memory file from which many small objects take slices, so that none costs a descriptor.
///
/// Slices that are neighbours in the file, mapped at neighbouring addresses, are one mapping to the kernel; the lowest
/// free offset is given first. A slice reads as zeros when it is given. Thread-safe. The arena lives as long as a
/// `SharedMemory` in it.
public final class MemoryArena: Sendable {
    /// Pages that all slices together may have.
    public let pageCount: Int

    let file: Int32
    /// Where the whole file is mapped, readable and writable.
    let base: UInt64
    /// Free runs in order, none of which touch.
    private let free: Mutex<[PageRange]>

    /// - Parameter pageCount: The pages it may hold together; only those touched take memory.
    /// - Throws: `.full` at a limit of the host; `.invalid` for a count that is not positive.
    public init(pageCount: Int = 1 << 24) throws(StoreError) {
        guard pageCount > 0, pageCount < 1 << 34 else {
            throw StoreError(.invalid, "An arena can't have \(pageCount) pages")
        }
        _ = Userfault.shared
        try Userfault.refuseInForkedChild()
        let file = try SystemCall.makeMemoryFile(pages: pageCount)
        do {
            base = try SystemCall.mapPager(file, pages: pageCount)
        } catch {
            close(file)
            throw error
        }
        self.file = file
        self.pageCount = pageCount
        free = Mutex([PageRange(start: 0, count: pageCount)])
    }

    deinit {
        if hm_is_forked_child() == 0 { try? SystemCall.unmap(base, pageCount << Page.shift) }
        close(file)
    }

    /// The lowest free run of so many pages.
    func take(_ count: Int) throws(StoreError) -> PageRange {
        let found: PageRange? = free.withLock { free in
            guard let index = free.firstIndex(where: { $0.count >= count }) else { return nil }
            let found = PageRange(start: free[index].start, count: count)
            if free[index].count == count {
                free.remove(at: index)
            } else {
                free[index].start += count
                free[index].count -= count
            }
            return found
        }
        guard let found else {
            throw StoreError(.full, "No \(count) pages lie free together in an arena of \(pageCount)")
        }
        return found
    }

    /// Maps a slice in our own mapping anew, so that nothing of it is registered.
    func remap(_ slice: PageRange) throws(StoreError) {
        let address = base + UInt64(slice.start) << UInt64(Page.shift)
        try SystemCall.mapShared(address, file, slice, protection: PROT_READ | PROT_WRITE)
    }

    /// Takes a slice back. One whose memory the kernel doesn't take back is never given again.
    func giveBack(_ slice: PageRange) {
        guard (try? SystemCall.punch(file, slice)) != nil else { return }
        free.withLock { free in
            var low = 0, high = free.count
            while low < high {
                let middle = (low + high) / 2
                if free[middle].start < slice.start { low = middle + 1 } else { high = middle }
            }
            let joinsNext = low < free.count && free[low].start == slice.end
            if low > 0, free[low - 1].end == slice.start {
                free[low - 1].count += slice.count
                if joinsNext { free[low - 1].count += free.remove(at: low).count }
            } else if joinsNext {
                free[low].start = slice.start
                free[low].count += slice.count
            } else {
                free.insert(slice, at: low)
            }
        }
    }
}

extension SystemCall {
    /// Maps a whole memory file for the process's own use; a forked child doesn't get it.
    static func mapPager(_ file: Int32, pages: Int) throws(StoreError) -> UInt64 {
        let length = pages << Page.shift
        let base = try map(0, length, protection: PROT_READ | PROT_WRITE, flags: MAP_SHARED | MAP_NORESERVE, file: file)
        do throws(StoreError) {
            try advise(base, length, Int32(MADV_DONTFORK))
        } catch {
            try? unmap(base, length)
            throw error
        }
        return base
    }
}

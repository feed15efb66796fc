internal import CHostMemory
internal import Glibc
internal import VMTypes

extension SystemCall {
    /// A sealed memory file of this length, whose pages exist once they are touched.
    static func makeMemoryFile(pages: Int) throws(StoreError) -> Int32 {
        Int32(try check("memfd_create") { Int(hm_memory_file(Int64(pages) << Int64(Page.shift))) })
    }

    /// Maps pages of a memory file over what is at `address`; a forked child doesn't get them.
    static func mapShared(
        _ address: UInt64, _ file: Int32, _ pages: PageRange, protection: Int32
    ) throws(StoreError) {
        let length = pages.count << Page.shift
        try map(
            address, length, protection: protection, flags: MAP_SHARED | MAP_NORESERVE | MAP_FIXED, file: file,
            offset: pages.start << Page.shift)
        try advise(address, length, Int32(MADV_DONTFORK))
    }

    /// Gives the memory of pages of a memory file back.
    static func punch(_ file: Int32, _ pages: PageRange) throws(StoreError) {
        guard pages.count > 0 else { return }
        try check("fallocate") {
            var result: Int32
            repeat {
                result = hm_punch(file, Int64(pages.start) << Int64(Page.shift), Int64(pages.count) << Int64(Page.shift))
            } while result == -EINTR
            return Int(result)
        }
    }

    /// Calls `body` with each run of pages of the file, within `pages`, that have memory or swap space.
    static func forEachPresentRun(
        _ file: Int32, _ pages: PageRange, _ body: (PageRange) throws(StoreError) -> Void
    ) throws(StoreError) {
        var next = pages.start
        while next < pages.end {
            let data = hm_next_data(file, Int64(next) << Int64(Page.shift))
            if data == -Int64(ENXIO) { return }
            try check("lseek") { Int(data) }
            let start = Int(data >> Int64(Page.shift))
            guard start < pages.end else { return }
            let hole = hm_next_hole(file, data)
            try check("lseek") { Int(hole) }
            let end = min(pages.end, Int(hole >> Int64(Page.shift)))
            guard end > start else { return next = start + 1 }
            try body(PageRange(start: start, count: end - start))
            next = end
        }
    }

    /// Calls `body` with each run of an object's pages that has neither memory nor swap space in the file, where page 0 is
    /// the file's page `firstPage`.
    static func forEachAbsentRun(
        _ file: Int32, firstPage: Int, _ pages: PageRange, _ body: (PageRange) -> Void
    ) throws(StoreError) {
        var next = pages.start
        try forEachPresentRun(file, PageRange(start: pages.start + firstPage, count: pages.count)) { run in
            let start = run.start - firstPage
            if start > next { body(PageRange(start: next, count: start - next)) }
            next = start + run.count
        }
        if next < pages.end { body(PageRange(start: next, count: pages.end - next)) }
    }

    /// Writes whole pages of a memory file, without a page fault.
    static func write(_ source: UnsafeRawPointer, _ file: Int32, _ pages: PageRange) throws(StoreError) {
        let length = pages.count << Page.shift
        var done = 0
        while done < length {
            done += try check("pwrite") {
                var count: Int
                repeat {
                    count = pwrite(file, source + done, length - done, off_t(pages.start << Page.shift + done))
                } while count < 0 && errno == EINTR
                return count < 0 ? -Int(errno) : count
            }
        }
    }
}

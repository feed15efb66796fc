internal import Glibc
internal import VMTypes

extension LMDBFile {
    /// A set of page numbers: a bit a page, of which only the parts touched take memory.
    final class PageSet {
        private let words: UnsafeMutablePointer<UInt64>
        private let count: Int
        /// How many pages are in the set.
        private(set) var members = 0

        /// An empty set of pages below `count`.
        init(count: Int) throws(StoreError) {
            self.count = count
            guard let memory = calloc(count / 64 + 1, 8) else {
                throw StoreError(.full, "no memory to check \(count) pages", advice: "Free some memory and try again")
            }
            words = memory.bindMemory(to: UInt64.self, capacity: count / 64 + 1)
        }

        deinit { Glibc.free(words) }

        /// Adds `count` pages from `start`; false, and nothing added, where one is in the set or not below its end.
        func insert(_ start: Int, count: Int) -> Bool {
            guard start >= 0, count > 0, start <= self.count - count else { return false }
            for round in 0..<2 {
                var page = start
                while page < start + count {
                    let bits = min(64 - page & 63, start + count - page)
                    let mask = (UInt64.max >> UInt64(64 - bits)) << UInt64(page & 63)
                    if round == 0 {
                        guard words[page / 64] & mask == 0 else { return false }
                    } else {
                        words[page / 64] |= mask
                    }
                    page += bits
                }
            }
            members += count
            return true
        }

        /// The lowest page in both sets, which must be equally large.
        func firstCommon(with other: PageSet) -> Int? {
            guard members > 0, other.members > 0 else { return nil }
            for word in 0...count / 64 where words[word] & other.words[word] != 0 {
                return word * 64 + (words[word] & other.words[word]).trailingZeroBitCount
            }
            return nil
        }
    }

    /// The pages that one transaction freed: how many, then their numbers, descending, 8 bytes each.
    struct FreeList {
        let walk: Walk
        let page: Int
        let node: Int

        /// Reads a list from within a leaf.
        func read(_ bytes: UnsafeRawBufferPointer) throws(StoreError) {
            guard let count = count(bytes, size: bytes.count) else { return }
            var last = UInt64.max
            _ = take(UnsafeRawBufferPointer(rebasing: bytes[8..<8 + 8 * count]), &last)
        }

        /// Reads a list of `size` bytes at `offset` of the file, where its pages are known to be.
        func read(size: Int, at offset: Int) throws(StoreError) {
            let buffer = AlignedBuffer(capacity: 16 * Page.size)
            let head = buffer[0..<8]
            try walk.file.read(into: head, at: offset)
            guard let count = count(UnsafeRawBufferPointer(head), size: size) else { return }
            var last = UInt64.max
            var done = 0
            while done < count {
                let chunk = buffer[0..<8 * min(count - done, 2 * Page.size)]
                try walk.file.read(into: chunk, at: offset + 8 + 8 * done)
                guard take(UnsafeRawBufferPointer(chunk), &last) else { return }
                done += chunk.count / 8
            }
        }

        /// How many numbers a list of `size` bytes says it has; nil, and a problem, where it has no room for them.
        private func count(_ head: UnsafeRawBufferPointer, size: Int) -> Int? {
            guard size >= 8, head.count >= 8 else {
                walk.problem("page \(page) has a list of free pages of \(size) bytes in node \(node)")
                return nil
            }
            let count = head.loadUnaligned(as: UInt64.self)
            guard count <= UInt64(size / 8 - 1) else {
                walk.problem("page \(page) has \(count) free pages in the \(size) bytes of node \(node)")
                return nil
            }
            return Int(count)
        }

        /// Adds page numbers to the free ones; false after the first that is wrong.
        private func take(_ bytes: UnsafeRawBufferPointer, _ last: inout UInt64) -> Bool {
            for index in 0..<bytes.count / 8 {
                let number = bytes.loadUnaligned(fromByteOffset: 8 * index, as: UInt64.self)
                guard number >= 2, number <= UInt64(walk.meta.lastPage), number < last,
                    walk.free.insert(Int(number), count: 1)
                else {
                    walk.problem("page \(page) has a wrong free page \(number) in node \(node)")
                    return false
                }
                last = number
            }
            return true
        }
    }
}

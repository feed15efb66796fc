internal import CHostMemory
internal import Glibc
internal import VMTypes

/// A sparse file without a name that holds pages of one mapping, at their places in it, instead of private memory.
///
/// It is this process's own, holds what memory held, and ends with the process: nothing of it is ever recovered. Callers hold
/// the mapping's lock.
final class ShadowFile {
    let descriptor: Int32
    private let home: ShadowHome
    /// Tells it from the mapping's earlier ones.
    let generation: Int
    private let pages: PageRange

    init(_ home: ShadowHome, pages: PageRange, generation: Int) throws(StoreError) {
        self.home = home
        self.generation = generation
        self.pages = pages
        let length = Int64(pages.count) << Int64(Page.shift)
        descriptor = Int32(try SystemCall.check("making a shadow file") { Int(hm_shadow_file(home.folder, length)) })
    }

    deinit {
        // In a forked child the number may be another file's by now.
        if hm_is_forked_child() == 0 { close(descriptor) }
    }

    private func place(_ range: PageRange) -> PageRange { PageRange(start: range.start - pages.start, count: range.count) }

    func offset(of page: Int) -> Int { (page - pages.start) << Page.shift }

    /// Refuses to go on where so many pages more would leave less room on the disk than has to stay. Others may take it meanwhile.
    func checkRoom(for count: Int) throws(StoreError) {
        let reserve = home.reserve
        guard reserve > 0 else { return }
        var info = statvfs()
        try SystemCall.check("fstatvfs") { fstatvfs(descriptor, &info) < 0 ? -Int(errno) : 0 }
        let free = UInt64(info.f_bavail) * UInt64(info.f_frsize)
        guard free >= reserve, free - reserve >= UInt64(count) << UInt64(Page.shift) else {
            throw StoreError(
                .full, "private memory is not given back: \(free) bytes are free on the disk, of which \(reserve) stay free",
                advice: "Free space on the disk", path: home.folder)
        }
    }

    func write(_ source: UnsafeRawPointer, _ range: PageRange) throws(StoreError) {
        try SystemCall.write(source, descriptor, place(range))
    }

    /// Makes pages read as zeros.
    func clear(_ range: PageRange) throws(StoreError) { try SystemCall.punch(descriptor, place(range)) }

    /// Takes what a plan would copy to private memory: whole page tables of the kernel that hold some of it.
    func take(_ plan: inout MappingPlan, _ provider: any PageProvider, _ ages: TableAges) throws(StoreError) {
        let buffer = FillBuffer()
        var tables: [PageRange] = []
        for copy in plan.copies {
            for number in ages.table(of: copy.start)...ages.table(of: copy.end - 1) {
                let table = ages.pages(of: number)
                guard tables.last != table else { continue }
                try checkRoom(for: table.count)
                for run in try provider.checkedRuns(in: table) where run.kind != .zero && run.kind != .beyondEnd {
                    var next = run.pages.start
                    while next < run.pages.end {
                        let part = PageRange(start: next, count: min(FillBuffer.pages, run.pages.end - next))
                        try provider.fill(part, into: buffer.pointer)
                        try write(buffer.pointer, part)
                        next = part.end
                    }
                }
                try settle(table)
                tables.append(table)
            }
        }
        plan.spill(tables, to: .shadow(generation))
    }

    /// Waits until the disk has taken the pages: one that refuses them is an error now, while memory still has them. What the
    /// kernel could not write later it would drop without a word.
    func settle(_ range: PageRange) throws(StoreError) {
        guard range.count > 0 else { return }
        try SystemCall.check("sync_file_range") {
            var result: Int32
            repeat {
                result = hm_write_back(descriptor, Int64(offset(of: range.start)), Int64(range.count) << Int64(Page.shift))
            } while result == -EINTR
            return Int(result)
        }
    }
}

/// Where pages go that are taken out of private memory: a file without a name in a folder, from which they come back when they
/// are touched.
public struct ShadowHome: Sendable {
    public var folder: String
    /// Bytes of the folder's disk that stay free.
    public var reserve: UInt64

    public init(folder: String, reserve: UInt64 = 0) {
        self.folder = folder
        self.reserve = reserve
    }
}

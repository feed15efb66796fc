internal import CHostMemory
internal import Glibc
internal import VMTypes

/// Puts a plan into memory.
struct MappingLayout {
    let address: UInt64
    let pages: PageRange
    let plan: MappingPlan
    let provider: any PageProvider
    /// The file of `.shadow` areas.
    var shadow: ShadowFile?

    private func address(of page: Int) -> UInt64 { address + UInt64(page - pages.start) << UInt64(Page.shift) }

    /// One anonymous mapping over all, the file's long runs over that, and what is copied at once.
    func mapMemory(writable: Bool, preferSmallPages: Bool) throws(StoreError) {
        let asked = writable ? PROT_READ | PROT_WRITE : PROT_READ
        let length = plan.live.count << Page.shift
        let anonymous = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED
        if length > 0 {
            let protection = plan.copies.isEmpty ? asked : PROT_READ | PROT_WRITE
            try SystemCall.map(address, length, protection: protection, flags: anonymous)
            // A first store must make one page dirty, not the 512 of a huge one.
            if preferSmallPages { try? SystemCall.advise(address, length, Int32(MADV_NOHUGEPAGE)) }
        }
        for copy in plan.copies {
            try provider.fill(copy, into: SystemCall.pointer(address(of: copy.start))!)
        }
        if !plan.copies.isEmpty, !writable { try SystemCall.protect(address, length, asked) }
        for area in plan.areas {
            let file: Int32, offset: Int
            switch area.backing {
            case .plain, .demand: continue
            case .file(let place): (file, offset) = (provider.fileDescriptor, place)
            case .shadow: (file, offset) = (shadow!.descriptor, shadow!.offset(of: area.pages.start))
            }
            try SystemCall.map(
                address(of: area.pages.start), area.pages.count << Page.shift, protection: asked,
                flags: MAP_PRIVATE | MAP_NORESERVE | MAP_FIXED, file: file, offset: offset)
            if preferSmallPages {
                try? SystemCall.advise(
                    address(of: area.pages.start), area.pages.count << Page.shift, Int32(MADV_NOHUGEPAGE))
            }
        }
        if plan.live.end < pages.end {
            try BeyondEnd.map(address(of: plan.live.end), (pages.end - plan.live.end) << Page.shift)
        }
        try SystemCall.advise(address, pages.count << Page.shift, Int32(MADV_DONTFORK))
    }

    /// Registers areas for write protection and for absent pages, neighbours of one mode together.
    func register(arms: Bool) throws(StoreError) {
        let protect = arms ? HM_REGISTER_WP : 0
        var index = 0
        while index < plan.areas.count {
            let isDemand = plan.areas[index].backing == .demand
            let start = plan.areas[index].pages.start
            while index < plan.areas.count, (plan.areas[index].backing == .demand) == isDemand { index += 1 }
            let end = plan.areas[index - 1].pages.end
            let mode = protect | (isDemand ? HM_REGISTER_MISSING : 0)
            if mode != 0 { try SystemCall.register(address(of: start), (end - start) << Page.shift, mode: mode) }
        }
    }
}

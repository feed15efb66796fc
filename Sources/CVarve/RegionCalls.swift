public import CVarveHeader
internal import Varve

@c @implementation
public func varve_vm_region(
    _ task: varve_task_t!, _ address: UnsafeMutablePointer<vm_address_t>!, _ size: UnsafeMutablePointer<vm_size_t>!,
    _ flavor: vm_region_flavor_t, _ info: UnsafeMutablePointer<varve_region_info_t>!, _ info_count: UnsafeMutablePointer<UInt32>!,
    _ object_name: UnsafeMutablePointer<UInt64>!
) -> kern_return_t {
    kernReturn { () throws(VMError) in
        let remote = remoteTask(task)
        let own = remote == nil ? try CVarve.task(task).task : nil
        func requireAlive() throws(VMError) {
            try remote?.inherit(address: 0, size: 0, .copy)
            try own?.inherit(address: 0, size: 0, .copy)
        }
        func found(_ address: UInt64) throws(VMError) -> RegionInfo? {
            if let remote { return try remote.region(address) }
            return try own?.region(address)
        }
        guard let address, let size, let info, let count = info_count else {
            try requireAlive()
            throw VMError(.invalidArgument, "address, size, info or info_count is NULL")
        }
        let filled = UInt32(MemoryLayout<varve_region_info_t>.size / 4)
        guard Int(flavor) == VARVE_REGION_INFO, count.pointee >= filled else {
            try requireAlive()
            throw VMError(.invalidArgument, "flavor \(flavor) with a count of \(count.pointee); \(VARVE_REGION_INFO) needs \(filled)")
        }
        guard let region = try found(address.pointee) else { return }
        address.pointee = region.start
        size.pointee = region.end - region.start
        info.pointee = varve_region_info_t(
            protection: region.current.rawValue, max_protection: region.maximum.rawValue,
            inheritance: region.inheritance.rawValue, shared: region.isShared ? 1 : 0, copied: region.isCopied ? 1 : 0,
            wired_count: UInt32(clamping: region.wiredCount), offset: region.offset,
            resident_pages: UInt64(region.residentPages), dirty_pages: UInt64(region.dirtyPages),
            swapped_pages: UInt64(region.swappedPages))
        count.pointee = filled
        object_name?.pointee = region.object?.rawValue ?? 0
    }
}

@c @implementation
public func varve_vm_map_page_query(
    _ task: varve_task_t!, _ address: vm_address_t, _ disposition: UnsafeMutablePointer<Int32>!
) -> kern_return_t {
    kernReturn { () throws(VMError) in
        let task = try CVarve.task(task).task
        let result = try argument(disposition, "disposition", task)
        let found = try task.queryPage(address)
        var bits = 0
        if found.contains(.present) { bits |= VM_PAGE_QUERY_PAGE_PRESENT }
        if found.contains(.dirty) { bits |= VM_PAGE_QUERY_PAGE_DIRTY }
        if found.contains(.pagedOut) { bits |= VM_PAGE_QUERY_PAGE_PAGED_OUT }
        if found.contains(.copied) { bits |= VM_PAGE_QUERY_PAGE_COPIED }
        result.pointee = Int32(bits)
    }
}

public import CVarveHeader
internal import Varve

@c @implementation
public func varve_store_create(_ path: UnsafePointer<CChar>!, _ ring_bytes: UInt64, _ window_base: UInt64) -> Int32 {
    code { () throws(StoreError) in
        let path = try text(path, "the path")
        var options = Store.CreateOptions()
        if ring_bytes != 0 {
            guard let bytes = Int(exactly: ring_bytes) else {
                throw StoreError(.invalid, "\(ring_bytes) bytes are no ring's size", advice: "Give a smaller one", path: path)
            }
            options.ringBytes = bytes
        }
        if window_base != 0 { options.windowBase = window_base }
        try Store.create(path, options: options)
    }
}

@c @implementation
public func varve_store_open(_ path: UnsafePointer<CChar>!, _ flags: UInt32, _ store: UnsafeMutablePointer<varve_store_t?>!) -> Int32 {
    code { () throws(StoreError) in
        let path = try text(path, "the path")
        let result = try required(store, "store")
        try requireNoFork()
        let opened = try Store.open(path, options: try openOptions(flags))
        do throws(StoreError) {
            result.pointee = try newHandle(StoreHandle(opened))
        } catch {
            try? opened.close()
            throw error
        }
    }
}

private func openOptions(_ flags: UInt32) throws(StoreError) -> Store.OpenOptions {
    func has(_ flag: Int) -> Bool { flags & UInt32(flag) != 0 }
    let known = VARVE_OPEN_READ | VARVE_OPEN_AUTOMATIC | VARVE_OPEN_CHECK_ON_MAP | VARVE_OPEN_TRACK_SIGNAL | VARVE_OPEN_COPY_ON_MAP
    guard flags & ~UInt32(known) == 0, !(has(VARVE_OPEN_READ) && has(VARVE_OPEN_AUTOMATIC)) else {
        throw StoreError(
            .invalid, "0x\(String(flags, radix: 16)) are no flags of an opening", advice: "Give VARVE_OPEN_* that go together")
    }
    return Store.OpenOptions(
        access: has(VARVE_OPEN_READ) ? .read : has(VARVE_OPEN_AUTOMATIC) ? .automatic : .write,
        tracking: has(VARVE_OPEN_TRACK_SIGNAL) ? .signal : nil, demandFill: has(VARVE_OPEN_COPY_ON_MAP) ? false : nil,
        checksOnMap: has(VARVE_OPEN_CHECK_ON_MAP))
}

@c @implementation
public func varve_store_close(_ store: varve_store_t!) -> Int32 {
    code { () throws(StoreError) in try takeStore(store).close() }
}

@c @implementation
public func varve_store_info(_ store: varve_store_t!, _ info: UnsafeMutablePointer<varve_store_info_t>!) -> Int32 {
    code { () throws(StoreError) in
        let store = try CVarve.store(store)
        let info = try required(info, "info")
        guard info.pointee.size >= UInt64(MemoryLayout<varve_store_info_t>.size) else {
            throw StoreError(.invalid, "info->size is \(info.pointee.size)", advice: "Set it to sizeof(varve_store_info_t)")
        }
        let figures = try store.statistics()
        info.pointee = varve_store_info_t(
            size: UInt64(MemoryLayout<varve_store_info_t>.size), version: figures.version.rawValue,
            flushed_version: figures.flushedVersion.rawValue, settled_version: figures.settledVersion.rawValue,
            objects: UInt64(figures.objects), snapshots: UInt64(figures.snapshots), live_bytes: figures.liveBytes,
            disk_bytes: figures.diskBytes, window_base: figures.windowBase, writes: store.isWriter ? 1 : 0,
            tracks_by_signal: store.tracking == .signal ? 1 : 0, fills_on_demand: store.demandFill ? 1 : 0, reserved: 0)
    }
}

@c @implementation
public func varve_backup(_ store: varve_store_t!, _ destination: UnsafePointer<CChar>!) -> Int32 {
    code { () throws(StoreError) in try CVarve.store(store).backup(to: try text(destination, "the destination")) }
}

@c @implementation
public func varve_release(_ handle: UnsafeRawPointer!) -> Int32 {
    code { () throws(StoreError) in if let handle { try release(handle) } }
}

public import CVarveHeader
internal import Varve

@c @implementation
public func varve_serve(_ store: varve_store_t!, _ audience: Int32) -> Int32 {
    code { () throws(StoreError) in
        let store = try CVarve.store(store)
        switch Int(audience) {
        case VARVE_SERVE_OWNER: try store.serve(.owner)
        case VARVE_SERVE_GROUP_READS: try store.serve(.groupReads)
        default:
            throw StoreError(
                .invalid, "\(audience) is no audience", advice: "Give VARVE_SERVE_OWNER or VARVE_SERVE_GROUP_READS")
        }
    }
}

@c @implementation
public func varve_remote_connect(
    _ path: UnsafePointer<CChar>!, _ deadline_ms: UInt32, _ remote: UnsafeMutablePointer<varve_remote_t?>!
) -> Int32 {
    code { () throws(StoreError) in
        let path = try text(path, "the path")
        let result = try required(remote, "remote")
        try requireNoFork()
        let patience: Duration = deadline_ms == 0 ? .seconds(60) : .milliseconds(Int64(deadline_ms))
        let connected = try RemoteStore.connect(path, patience: patience)
        result.pointee = try newHandle(RemoteHandle(connected))
    }
}

@c @implementation
public func varve_remote_of(_ task: varve_task_t!, _ remote: UnsafeMutablePointer<varve_remote_t?>!) -> Int32 {
    code { () throws(StoreError) in
        guard let found = remoteTask(task) else { throw invalid(task, "a task of a store that another process serves") }
        try required(remote, "remote").pointee = try newHandle(RemoteHandle(found.store))
    }
}

@c @implementation
public func varve_remote_close(_ remote: varve_remote_t!) -> Int32 {
    code { () throws(StoreError) in
        let found = try CVarve.remote(remote)
        endHandle(remote)
        found.close()
    }
}

@c @implementation
public func varve_remote_is_connected(_ remote: varve_remote_t!, _ connected: UnsafeMutablePointer<boolean_t>!) -> Int32 {
    code { () throws(StoreError) in
        let remote = try CVarve.remote(remote)
        try required(connected, "connected").pointee = remote.isConnected ? 1 : 0
    }
}

@c @implementation
public func varve_remote_object(
    _ remote: varve_remote_t!, _ name: UnsafePointer<CChar>!, _ rights: vm_prot_t, _ object: UnsafeMutablePointer<varve_object_t?>!
) -> Int32 {
    code { () throws(StoreError) in
        let remote = try CVarve.remote(remote)
        let result = try required(object, "object")
        let found = try remote.object(named: try text(name, "the object's name"), rights: Protection(rawValue: rights))
        result.pointee = try newHandle(RemoteObjectHandle(found))
    }
}

@c @implementation
public func varve_remote_task(
    _ remote: varve_remote_t!, _ window_size: UInt64, _ task: UnsafeMutablePointer<varve_task_t?>!
) -> Int32 {
    code { () throws(StoreError) in
        let remote = try CVarve.remote(remote)
        let result = try required(task, "task")
        guard window_size % 4096 == 0 else {
            throw StoreError(.invalid, "\(window_size) bytes are not whole pages", advice: "Give a multiple of 4096")
        }
        result.pointee = try newHandle(RemoteTaskHandle(try remote.task(windowSize: window_size == 0 ? 64 << 30 : window_size)))
    }
}

@c @implementation
public func varve_remote_commit(
    _ remote: varve_remote_t!, _ message: UnsafePointer<CChar>!, _ flags: UInt32, _ version: UnsafeMutablePointer<UInt64>!
) -> Int32 {
    code { () throws(StoreError) in
        let made = try commit(try CVarve.remote(remote), message, flags)
        version?.pointee = made.rawValue
    }
}

@c @implementation
public func varve_remote_snapshot(
    _ remote: varve_remote_t!, _ name: UnsafePointer<CChar>!, _ message: UnsafePointer<CChar>!,
    _ version: UnsafeMutablePointer<UInt64>!
) -> Int32 {
    code { () throws(StoreError) in
        let remote = try CVarve.remote(remote)
        let made = try remote.createSnapshot(
            try text(name, "the snapshot's name"), message: try CVarve.message(message))
        version?.pointee = made.rawValue
    }
}

/// Has the serving process commit.
func commit(_ remote: RemoteStore, _ message: UnsafePointer<CChar>?, _ flags: UInt32) throws(StoreError) -> Version {
    guard flags & ~UInt32(VARVE_COMMIT_DEFERRED) == 0 else {
        throw StoreError(
            .invalid, "0x\(String(flags, radix: 16)) are no flags of such a commit", advice: "Give 0 or VARVE_COMMIT_DEFERRED")
    }
    return try remote.commit(
        message: try CVarve.message(message), durability: flags & UInt32(VARVE_COMMIT_DEFERRED) != 0 ? .deferred : .synced)
}

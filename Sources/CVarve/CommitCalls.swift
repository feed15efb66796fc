public import CVarveHeader
internal import Varve

@c @implementation
public func varve_commit(
    _ store: varve_store_t!, _ message: UnsafePointer<CChar>!, _ flags: UInt32, _ snapshot: UnsafePointer<CChar>!,
    _ version: UnsafeMutablePointer<UInt64>!
) -> Int32 {
    code { () throws(StoreError) in
        let store = try CVarve.store(store)
        guard flags & ~UInt32(VARVE_COMMIT_DEFERRED | VARVE_COMMIT_DECLARED) == 0 else {
            throw StoreError(.invalid, "0x\(String(flags, radix: 16)) are no flags of a commit", advice: "Give VARVE_COMMIT_*")
        }
        let made = try store.commit(
            message: try CVarve.message(message), durability: flags & UInt32(VARVE_COMMIT_DEFERRED) != 0 ? .deferred : .synced,
            declaredOnly: flags & UInt32(VARVE_COMMIT_DECLARED) != 0, snapshot: try optionalText(snapshot, "the snapshot's name"))
        version?.pointee = made.rawValue
    }
}

@c @implementation
public func varve_flush(_ store: varve_store_t!) -> Int32 { code { () throws(StoreError) in try CVarve.store(store).flush() } }

@c @implementation
public func varve_abandon(_ store: varve_store_t!) -> Int32 { code { () throws(StoreError) in try CVarve.store(store).abandon() } }

@c @implementation
public func varve_is_changed(_ store: varve_store_t!, _ changed: UnsafeMutablePointer<boolean_t>!) -> Int32 {
    code { () throws(StoreError) in
        let store = try CVarve.store(store)
        try required(changed, "changed").pointee = try store.hasUncommittedChanges() ? 1 : 0
    }
}

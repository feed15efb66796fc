public import CVarveHeader
internal import Varve

@c @implementation
public func varve_snapshot_create(
    _ store: varve_store_t!, _ name: UnsafePointer<CChar>!, _ object: UnsafePointer<CChar>!, _ message: UnsafePointer<CChar>!,
    _ version: UnsafeMutablePointer<UInt64>!
) -> Int32 {
    code { () throws(StoreError) in
        let made = try CVarve.store(store).createSnapshot(
            try text(name, "the snapshot's name"), object: try optionalText(object, "the object's name"),
            message: try CVarve.message(message))
        version?.pointee = made.version.rawValue
    }
}

@c @implementation
public func varve_snapshot_delete(_ store: varve_store_t!, _ name: UnsafePointer<CChar>!) -> Int32 {
    code { () throws(StoreError) in try CVarve.store(store).deleteSnapshot(try text(name, "the snapshot's name")) }
}

@c @implementation
public func varve_snapshot_rename(
    _ store: varve_store_t!, _ name: UnsafePointer<CChar>!, _ new_name: UnsafePointer<CChar>!
) -> Int32 {
    code { () throws(StoreError) in
        try CVarve.store(store).renameSnapshot(try text(name, "the snapshot's name"), to: try text(new_name, "the new name"))
    }
}

@c @implementation
public func varve_snapshot_list(
    _ store: varve_store_t!, _ visitor: varve_snapshot_visitor_t!, _ context: UnsafeMutableRawPointer!
) -> Int32 {
    code { () throws(StoreError) in
        let store = try CVarve.store(store)
        let visitor = try required(visitor, "visitor")
        for snapshot in try store.snapshots() {
            let answer = snapshot.name.withCString { name in
                snapshot.message.withCString { message in
                    var info = varve_snapshot_t(
                        name: name, message: message, version: snapshot.version.rawValue, object: snapshot.object?.rawValue ?? 0,
                        time: snapshot.time)
                    return visitor(context, &info)
                }
            }
            if answer != 0 { return }
        }
    }
}

@c @implementation
public func varve_rollback(
    _ store: varve_store_t!, _ state: UnsafePointer<CChar>!, _ object: UnsafePointer<CChar>!, _ message: UnsafePointer<CChar>!,
    _ version: UnsafeMutablePointer<UInt64>!
) -> Int32 {
    code { () throws(StoreError) in
        let made = try CVarve.store(store).rollback(
            to: try CVarve.state(state), object: try optionalText(object, "the object's name"),
            message: try CVarve.message(message))
        version?.pointee = made.rawValue
    }
}

@c @implementation
public func varve_diff(
    _ store: varve_store_t!, _ before: UnsafePointer<CChar>!, _ after: UnsafePointer<CChar>!, _ object: UnsafePointer<CChar>!,
    _ visitor: varve_difference_visitor_t!, _ context: UnsafeMutableRawPointer!
) -> Int32 {
    code { () throws(StoreError) in
        let store = try CVarve.store(store)
        let visitor = try required(visitor, "visitor")
        let differences = try store.diff(
            try state(before), try state(after), object: try optionalText(object, "the object's name"))
        for difference in differences {
            let kind =
                switch difference.kind {
                case .added: VARVE_ADDED
                case .removed: VARVE_REMOVED
                case .changed: VARVE_CHANGED
                case .resized: VARVE_RESIZED
                }
            let answer = difference.name.withCString { name in
                var info = varve_difference_t(
                    name: name, object: difference.id.rawValue, kind: Int32(kind), reserved: 0, size_before: difference.sizeBefore,
                    size_after: difference.sizeAfter, changed_pages: UInt64(difference.changedPages),
                    changed_bytes: UInt64(difference.changedBytes))
                return visitor(context, &info)
            }
            if answer != 0 { return }
        }
    }
}

@c @implementation
public func varve_log(_ store: varve_store_t!, _ visitor: varve_log_visitor_t!, _ context: UnsafeMutableRawPointer!) -> Int32 {
    code { () throws(StoreError) in
        let store = try CVarve.store(store)
        let visitor = try required(visitor, "visitor")
        for entry in try store.log() {
            let answer = entry.message.withCString { message in
                entry.changes.joined(separator: ", ").withCString { changes in
                    var info = varve_log_entry_t(
                        version: entry.version.rawValue, time: nanoseconds(entry.time), message: message, changes: changes,
                        pages: UInt64(clamping: entry.pages), retained: entry.isRetained ? 1 : 0, reserved: 0)
                    return visitor(context, &info)
                }
            }
            if answer != 0 { return }
        }
    }
}

/// Nanoseconds since 1970 of a time in seconds, whatever a clock or a damaged file says.
private func nanoseconds(_ seconds: Double) -> Int64 {
    let exact = (seconds * 1e9).rounded()
    return Int64(exactly: exact) ?? (exact > 0 ? .max : exact < 0 ? .min : 0)
}

public import CVarveHeader
internal import Varve

@c @implementation
public func varve_verify(
    _ store: varve_store_t!, _ visitor: varve_finding_visitor_t!, _ context: UnsafeMutableRawPointer!,
    _ summary: UnsafeMutablePointer<varve_verify_summary_t>!
) -> Int32 {
    code { () throws(StoreError) in
        let store = try CVarve.store(store)
        var isShown = true
        let found = try store.verify { finding in
            guard isShown, let visitor else { return }
            let answer = finding.place.withCString { place in
                finding.message.withCString { message in
                    var info = varve_finding_t(
                        place: place, message: message, object: finding.object?.rawValue ?? 0,
                        first_page: UInt64(clamping: finding.pages?.start ?? 0), page_count: UInt64(clamping: finding.pages?.count ?? 0),
                        is_damage: finding.severity == .damage ? 1 : 0, reserved: 0)
                    return visitor(context, &info)
                }
            }
            isShown = answer == 0
        }
        summary?.pointee = varve_verify_summary_t(
            objects: UInt64(found.objects), versions: UInt64(found.versions), pages: UInt64(found.pagesChecked),
            bytes: UInt64(found.bytesChecked), journal_records: UInt64(found.journalRecords), findings: UInt64(found.findings))
    }
}

@c @implementation
public func varve_repair(
    _ path: UnsafePointer<CChar>!, _ copy: UnsafePointer<CChar>!, _ visitor: varve_loss_visitor_t!,
    _ context: UnsafeMutableRawPointer!, _ summary: UnsafeMutablePointer<varve_repair_summary_t>!
) -> Int32 {
    code { () throws(StoreError) in
        let made = try Store.repair(try text(path, "the path"), into: try text(copy, "the copy's path"))
        summary?.pointee = varve_repair_summary_t(
            objects: UInt64(made.objects), snapshots: UInt64(made.snapshots), pages_kept: UInt64(made.pagesKept),
            pages_lost: UInt64(made.pagesLost))
        guard let visitor else { return }
        for loss in made.lost where loss.withCString({ visitor(context, $0) }) != 0 { return }
    }
}

@c @implementation
public func varve_reclaim(
    _ store: varve_store_t!, _ dry_run: boolean_t, _ report: UnsafeMutablePointer<varve_reclaim_report_t>!
) -> Int32 {
    code { () throws(StoreError) in
        let done = try CVarve.store(store).reclaim(dryRun: dry_run != 0)
        report?.pointee = varve_reclaim_report_t(
            layers_dropped: UInt64(done.layersDropped), layers_merged: UInt64(done.layersMerged),
            bytes_freed: UInt64(done.bytesFreed), bytes_rewritten: UInt64(done.bytesRewritten),
            bytes_pinned: UInt64(done.bytesPinned))
    }
}

@c @implementation
public func varve_retain(_ store: varve_store_t!, _ versions: UInt32, _ seconds: UInt32) -> Int32 {
    code { () throws(StoreError) in try CVarve.store(store).setRetention(Retention(versions: versions, seconds: seconds)) }
}

@c @implementation
public func varve_retention(
    _ store: varve_store_t!, _ versions: UnsafeMutablePointer<UInt32>!, _ seconds: UnsafeMutablePointer<UInt32>!
) -> Int32 {
    code { () throws(StoreError) in
        let retention = try CVarve.store(store).retention
        versions?.pointee = retention.versions
        seconds?.pointee = retention.seconds
    }
}

@c @implementation
public func varve_last_fault(
    _ task: varve_task_t!, _ address: vm_address_t, _ fault: UnsafeMutablePointer<varve_fault_t>!
) -> kern_return_t {
    kernReturn { () throws(VMError) in
        let task = try CVarve.task(task).task
        let result = try argument(fault, "fault", task)
        var made = varve_fault_t()
        if let found = task.lastFault(address) {
            made.code = found.code.rawValue
            made.object = found.object.rawValue
            made.offset = found.offset
            withUnsafeMutableBytes(of: &made.reason) { room in room.copyBytes(from: found.reason.utf8.prefix(room.count - 1)) }
        }
        result.pointee = made
    }
}

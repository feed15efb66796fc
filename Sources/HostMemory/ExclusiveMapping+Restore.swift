internal import CHostMemory
internal import Glibc
internal import Synchronization
public import VMTypes

extension ExclusiveMapping {
    /// Puts the provider's committed bytes back into exactly these pages, in place; afterwards they are clean.
    ///
    /// Threads that store to them meanwhile must be stopped first; loads see old bytes or new ones.
    ///
    /// - Throws: The provider's errors. Pages after the failed ones keep what they held, and stay dirty.
    public func restore(_ ranges: [PageRange]) throws(StoreError) {
        for range in ranges { try checkLive(range) }
        guard writable else { throw StoreError(.readOnly, "The mapping at \(hexadecimal(address)) holds no stores") }
        try whileMapped { () throws(StoreError) in
            let buffer = FillBuffer()
            // Bytes may come to private memory that no store has brought there.
            ages.stored(ranges[...])
            // What was copied of them is not what they are going to hold.
            copies = [:]
            for range in ranges where range.count > 0 {
                for run in try provider.checkedRuns(in: range) { try restore(run.pages, run.kind, buffer) }
            }
        }
    }

    private func restore(_ run: PageRange, _ kind: RunKind, _ buffer: borrowing FillBuffer) throws(StoreError) {
        var next = run.start
        while next < run.end {
            guard let area = plan.area(holding: next), kind != .beyondEnd else {
                throw StoreError(.invalid, "Page \(next) is beyond the object's end")
            }
            let part = PageRange(start: next, count: min(run.end, area.pages.end) - next)
            let beneath: Bool
            switch (area.backing, kind) {
            case (.plain, .zero), (.demand, .zero): beneath = true
            case (.file(let mapped), .file(let offset)):
                beneath = mapped + (next - area.pages.start) << Page.shift == offset + (next - run.start) << Page.shift
            default: beneath = false
            }
            try protections.forEachRun(in: part) { pages, _ throws(StoreError) in
                var start = pages.start
                while start < pages.end {
                    let count = beneath ? pages.end - start : min(FillBuffer.pages, pages.end - start)
                    let chunk = PageRange(start: start, count: count)
                    if beneath {
                        try showBeneath(chunk, area.backing)
                    } else {
                        try fetch(chunk, kind, buffer)
                        try overwrite(chunk, area.backing, buffer)
                    }
                    start = chunk.end
                }
            }
            next = part.end
        }
    }

    private func fetch(_ chunk: PageRange, _ kind: RunKind, _ buffer: borrowing FillBuffer) throws(StoreError) {
        if kind == .zero {
            memset(buffer.pointer, 0, chunk.count << Page.shift)
        } else {
            try provider.fill(chunk, into: buffer.pointer)
        }
    }

    /// Drops private pages whose committed bytes lie beneath them: zeros, or the file.
    private func showBeneath(_ chunk: PageRange, _ backing: MappingPlan.Backing) throws(StoreError) {
        let start = address(of: chunk.start), length = chunk.count << Page.shift
        guard backing == .demand, let region else {
            try tracker?.replacing(chunk) { () throws(StoreError) in try SystemCall.drop(start, length) }
            return
        }
        try region.heal(chunk, protection: { memoryProtection($0) })
        try region.state.withLock { state throws(StoreError) in
            state.generation += 1
            try SystemCall.drop(start, length)
            try tracker?.rearm(chunk)
        }
    }

    /// Puts fetched bytes over pages.
    private func overwrite(
        _ chunk: PageRange, _ backing: MappingPlan.Backing, _ buffer: borrowing FillBuffer
    ) throws(StoreError) {
        let start = address(of: chunk.start), length = chunk.count << Page.shift
        let source = buffer.pointer
        guard backing == .demand, let region else {
            try tracker?.replacing(chunk) { () throws(StoreError) in
                memcpy(SystemCall.pointer(start)!, source, length)
            }
            return
        }
        // A copy into absent memory would wait for the fault service; placing pages does not.
        try region.heal(chunk, protection: { memoryProtection($0) })
        try region.state.withLock { state throws(StoreError) in
            state.generation += 1
            try SystemCall.drop(start, length)
            try SystemCall.place(source, at: start, pages: chunk.count, armed: region.arms)
            if !region.arms { try tracker?.rearm(chunk) }
        }
        SystemCall.wake(start, length)
    }

    /// What a clean page of this protection has in memory.
    private func memoryProtection(_ page: Int) -> Int32 {
        let bits = protections.bits(page)
        return tracking == .signal ? bits & ~PROT_WRITE : bits
    }
}

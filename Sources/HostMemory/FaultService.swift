internal import CHostMemory
internal import Glibc
internal import Synchronization
internal import VMTypes

/// The thread that fills absent pages when they are touched: one a process.
///
/// It takes no lock of a mapping, only a region's own, whose holders never touch memory that could be absent;
/// so a thread that waits for a page while it holds a mapping's lock is always served. Providers that must be waited for
/// are asked on threads of their own.
enum FaultService {
    /// Regions by address. Held only to look one up or to change the list.
    private static let regions = Mutex<[DemandRegion]>([])

    /// Whether the thread lives; the first look starts it.
    static let isRunning: Bool = {
        guard Userfault.shared.servesKernel, Userfault.shared.isOpen else { return false }
        var thread = pthread_t()
        var all = sigset_t()
        var saved = sigset_t()
        sigfillset(&all)
        // The thread inherits the mask: no handler of the program's runs on it.
        pthread_sigmask(SIG_SETMASK, &all, &saved)
        defer { pthread_sigmask(SIG_SETMASK, &saved, nil) }
        guard pthread_create(&thread, nil, faultServiceMain, nil) == 0 else { return false }
        pthread_detach(thread)
        return true
    }()

    static func add(_ region: DemandRegion) {
        regions.withLock { list in
            list.insert(region, at: position(of: region.base, in: list))
        }
    }

    static func remove(_ region: DemandRegion) {
        regions.withLock { list in list.removeAll { $0 === region } }
    }

    private static func position(of address: UInt64, in list: [DemandRegion]) -> Int {
        var low = 0, high = list.count
        while low < high {
            let middle = (low + high) / 2
            if list[middle].base <= address { low = middle + 1 } else { high = middle }
        }
        return low
    }

    static func region(holding address: UInt64) -> DemandRegion? {
        regions.withLock { list in
            let index = position(of: address, in: list) - 1
            return index >= 0 && list[index].contains(address) ? list[index] : nil
        }
    }

    static func serveForever() {
        let scratch = FillBuffer()
        let scanner = PagemapScanner(capacity: FillBuffer.pages)
        let pace = ReadPace()
        while true {
            var address: UInt64 = 0
            let result = hm_uffd_next(hm_uffd(), &address)
            if result < 0 && result != -EINTR && result != -EAGAIN { return }
            guard result == 0 else { continue }
            let page = Page.trunc(address)
            if let region = region(holding: page) {
                if let provider = region.waiting {
                    region.serveApart(page, provider)
                } else {
                    region.serve(page, scratch, scanner, pace)
                }
            } else {
                // Unmapped meanwhile: the access is repeated and meets what is there now.
                SystemCall.wake(page, Page.size)
            }
        }
    }
}

/// The thread's entry: a function of its own, since a closure may not be one.
private func faultServiceMain(_: UnsafeMutableRawPointer?) -> UnsafeMutableRawPointer? {
    FaultService.serveForever()
    return nil
}

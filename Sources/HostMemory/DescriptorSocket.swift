internal import CHostMemory
internal import Glibc
public import VMTypes

/// Bytes and descriptors through a Unix stream socket.
public enum DescriptorSocket {
    /// Sends all the bytes, the descriptor with the first of them; the peer gets a copy of it.
    ///
    /// - Throws: `.io` where the peer is gone, or takes longer than the socket's time-out.
    public static func send(_ bytes: [UInt8], descriptor: Int32? = nil, over socket: Int32) throws(StoreError) {
        var done = 0
        while done < bytes.count {
            let sent = bytes.withUnsafeBytes { hm_send(socket, $0.baseAddress! + done, $0.count - done, done == 0 ? descriptor ?? -1 : -1) }
            if sent == -Int(EINTR) { continue }
            guard sent > 0 else { throw SystemCall.error("sendmsg", errno: Int32(-sent)) }
            done += sent
        }
    }

    /// The bytes that are there, waiting for the first until `deadline`, and a descriptor that came with them, which is the
    /// caller's to close. No bytes: the peer has ended.
    ///
    /// - Throws: `.io`, with ETIMEDOUT where nothing came.
    public static func receive(from socket: Int32, until deadline: ContinuousClock.Instant) throws(StoreError)
        -> (bytes: [UInt8], descriptor: Int32?)
    {
        while true {
            let left = ContinuousClock.now.duration(to: deadline).components
            let milliseconds = left.seconds * 1000 + left.attoseconds / 1_000_000_000_000_000 + 1
            guard left.seconds >= 0, left.attoseconds >= 0 else { throw SystemCall.error("recvmsg", errno: ETIMEDOUT) }
            var wanted = pollfd(fd: socket, events: Int16(POLLIN), revents: 0)
            let ready = poll(&wanted, 1, Int32(clamping: milliseconds))
            if ready < 0, errno != EINTR { throw SystemCall.error("poll", errno: errno) }
            guard ready > 0 else { continue }
            var descriptor: Int32 = -1
            var failure = 0
            let bytes = [UInt8](unsafeUninitializedCapacity: 4096) { buffer, count in
                let got = hm_receive(socket, buffer.baseAddress!, buffer.count, &descriptor)
                count = max(0, got)
                failure = min(0, got)
            }
            if failure == -Int(EINTR) || failure == -Int(EAGAIN) { continue }
            guard failure == 0 else { throw SystemCall.error("recvmsg", errno: Int32(-failure)) }
            return (bytes, descriptor < 0 ? nil : descriptor)
        }
    }
}

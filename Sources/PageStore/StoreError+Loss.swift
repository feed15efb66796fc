internal import Glibc
internal import VMTypes

extension StoreError {
    /// Whether bytes that were asked for are damaged, or lie where the device can't read them: asking again brings nothing.
    var isLossOfBytes: Bool { code == .damaged || errno == EIO }
}

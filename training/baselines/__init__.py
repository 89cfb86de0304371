"""Networks of other libraries, trained and scored beside F2P-Net under the same protocol."""

// Package carriertest makes authorities and certificates for tests of encrypted links.
package carriertest

"""Makes a certificate authority and a certificate of it for 127.0.0.1: FOLDER/ca.pem, FOLDER/cert.pem, FOLDER/key.pem.

    certificate.py FOLDER
"""

import datetime
import ipaddress
import os
import sys

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID


def main(folder):
    ca_key, key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    ca = signed("LeadersBoard tests", ca_key, "LeadersBoard tests", ca_key, x509.BasicConstraints(True, None), None)
    host = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
    certificate = signed("LeadersBoard tests", ca_key, "mlflow", key, x509.BasicConstraints(False, None), host)
    write(folder, "ca.pem", ca.public_bytes(serialization.Encoding.PEM))
    write(folder, "cert.pem", certificate.public_bytes(serialization.Encoding.PEM))
    pem, unencrypted = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    write(folder, "key.pem", key.private_bytes(serialization.Encoding.PEM, pem, unencrypted))


def signed(issuer, issuer_key, subject, key, constraints, host):
    now = datetime.datetime.now(datetime.timezone.utc)
    certificate = (
        x509.CertificateBuilder()
        .issuer_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, issuer)]))
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, subject)]))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(constraints, critical=True)
    )
    if host is not None:
        certificate = certificate.add_extension(host, critical=False)
    return certificate.sign(issuer_key, hashes.SHA256())


def write(folder, name, content):
    with open(os.path.join(folder, name), "wb") as file:
        file.write(content)


if __name__ == "__main__":
    main(*sys.argv[1:])

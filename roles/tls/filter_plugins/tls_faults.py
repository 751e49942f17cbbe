"""Judges a certificate and its key before any host is touched, with what Ansible itself brings."""

from __future__ import annotations

import datetime
import ipaddress
import itertools
import ssl
from collections.abc import Callable, Sequence

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization

Fault = dict[str, str]


def tls_faults(
    certificates: str, key: str, authorities: str, names: list[str], at: str = ""
) -> list[Fault]:
    """What is wrong, each in English (`en`) and Chinese (`zh`).

    Args:
        certificates: PEM: the service's own certificate, then those between it and its root.
        key: PEM, of the first certificate.
        authorities: PEM of roots that count beside those of this machine.
        names: what users open the service by.
        at: the moment to judge it at, as ISO 8601; now by default.
    """
    try:
        chain = x509.load_pem_x509_certificates(certificates.encode())
    except ValueError:
        return [_fault("It holds no certificate in PEM.", "其中没有 PEM 格式的证书。")]
    utc = datetime.timezone.utc
    now = datetime.datetime.fromisoformat(at) if at else datetime.datetime.now(utc)
    own = chain[0]
    return [
        *_key_faults(own, key),
        *(fault for one in chain for fault in _date_faults(one, now)),
        *_name_faults(own, names),
        *_chain_faults(chain, authorities),
    ]


def _fault(en: str, zh: str) -> Fault:
    return {"en": en, "zh": zh}


def _key_faults(own: x509.Certificate, pem: str) -> list[Fault]:
    try:
        key = serialization.load_pem_private_key(pem.encode(), password=None)
    except TypeError:
        return [
            _fault(
                "The key has a passphrase, which nginx could not be told: take it off with "
                "openssl pkey, and keep the file in ansible-vault.",
                "私钥带有口令，nginx 无法读取：请用 openssl pkey 去掉口令，"
                "并用 ansible-vault 保管。",
            )
        ]
    except (ValueError, UnsupportedAlgorithm):
        return [_fault("The key is none in PEM.", "私钥不是 PEM 格式。")]
    form = (serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    if key.public_key().public_bytes(*form) != own.public_key().public_bytes(*form):
        return [
            _fault(
                f"The key belongs to another certificate than {_who(own)}, the first of the file.",
                f"私钥与文件中第一张证书 {_who(own)} 不匹配。",
            )
        ]
    return []


def _date_faults(one: x509.Certificate, now: datetime.datetime) -> list[Fault]:
    if now > one.not_valid_after_utc:
        day = one.not_valid_after_utc.date()
        return [_fault(f"{_who(one)} ended on {day}.", f"{_who(one)} 已于 {day} 到期。")]
    if now < one.not_valid_before_utc:
        day = one.not_valid_before_utc.date()
        return [_fault(f"{_who(one)} begins on {day} only.", f"{_who(one)} 自 {day} 起才有效。")]
    return []


def _name_faults(own: x509.Certificate, names: list[str]) -> list[Fault]:
    try:
        there = own.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        hosts = [name.lower() for name in there.get_values_for_type(x509.DNSName)]
        addresses = there.get_values_for_type(x509.IPAddress)
    except x509.ExtensionNotFound:
        hosts, addresses = [], []  # a common name alone convinces no browser
    lacking = [name for name in names if not _covers(hosts, addresses, name)]
    if not lacking:
        return []
    held = ", ".join([*hosts, *map(str, addresses)]) or "-"
    return [
        _fault(
            f"It is not for {', '.join(lacking)} of tls_names, only for {held}.",
            f"它不适用于 tls_names 中的 {'、'.join(lacking)}，只适用于 {held}。",
        )
    ]


def _covers(hosts: list[str], addresses: Sequence[object], name: str) -> bool:
    try:
        return ipaddress.ip_address(name) in addresses
    except ValueError:
        wild = "*." + name.lower().partition(".")[2]
        return name.lower() in hosts or wild in hosts


def _chain_faults(chain: list[x509.Certificate], authorities: str) -> list[Fault]:
    for one, issuer in itertools.pairwise(chain):
        if not _issued(one, issuer):
            return [
                _fault(
                    f"{_who(one)} is followed by {_who(issuer)}, which did not issue it: each "
                    "certificate is followed by its issuer's.",
                    f"{_who(one)} 之后是 {_who(issuer)}，但后者并非其签发者："
                    "每张证书之后应是其签发者的证书。",
                )
            ]
    try:
        roots = x509.load_pem_x509_certificates(authorities.encode()) if authorities else []
    except ValueError:
        return [_fault("tls_ca_file holds no certificate in PEM.", "tls_ca_file 中没有 PEM 证书。")]
    last = chain[-1]
    if any(_issued(last, root) for root in [*roots, *_system_roots(last)]):
        return []
    beyond = last.issuer.rfc4514_string()
    return [
        _fault(
            f"The chain is incomplete: it ends with {_who(last)}, issued by {beyond}, which this "
            "machine does not trust. Append that certificate to the file, or name the CA in "
            "tls_ca_file if it is one of your own.",
            f"证书链不完整：末尾为 {_who(last)}，其签发者 {beyond} 不受本机信任。"
            "请把该证书追加到文件末尾；若是自建 CA，请设置 tls_ca_file。",
        )
    ]


def _issued(one: x509.Certificate, issuer: x509.Certificate) -> bool:
    try:
        one.verify_directly_issued_by(issuer)
    except Exception:  # another name, another key, or a kind of key that signs nothing
        return False
    return True


def _system_roots(last: x509.Certificate) -> list[x509.Certificate]:
    """Those of this machine's roots that the issuer's name is in."""
    store = ssl.create_default_context()
    wanted = last.issuer.public_bytes()
    found = (root for root in store.get_ca_certs(binary_form=True) if wanted in root)
    return [x509.load_der_x509_certificate(root) for root in found]


def _who(one: x509.Certificate) -> str:
    return one.subject.rfc4514_string() or f"serial {one.serial_number:x}"


class FilterModule:
    """Ansible's entry point."""

    def filters(self) -> dict[str, Callable[..., list[Fault]]]:
        return {"tls_faults": tls_faults}
